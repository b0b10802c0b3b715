"""The parts of `device.py` that run peers, in processes where JAX holds no memory of the device."""

import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from device_parts import REPEATS, Step
from device_search import Work
from engine import SHAPES, WIDE
from measure import Row, row, seconds


def torch(shape: str, work: Work) -> Iterator[Step]:
    """transformers' `generate` on a random model made on the device."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if shape in WIDE and device.type == "cpu":
        raise RuntimeError("torch sees no GPU here")
    dtype = torch.bfloat16 if shape in WIDE else torch.float32
    torch.set_default_dtype(dtype)
    with device:
        model = LlamaForCausalLM(LlamaConfig(**SHAPES[shape])).eval()
    torch.set_default_dtype(torch.float32)
    sizes = SHAPES[shape]

    def generate(count: int, **options: Any) -> None:
        drawn = np.random.default_rng(0).integers(3, sizes["vocab_size"], (count, work.prompt))
        inputs = torch.tensor(drawn, dtype=torch.long, device=device)
        with torch.no_grad():
            model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=work.steps,
                min_new_tokens=work.steps,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
                **options,
            ).cpu()

    def measured(count: int, name: str, **options: Any) -> list[Row]:
        run = functools.partial(generate, count, **options)
        run()
        taken = seconds(run, REPEATS)
        return [row(f"{name}, batch {count}", count * work.steps / taken, "tokens/s")]

    name = f"transformers generate on {device.type}"
    for count in work.rows:
        yield f"batch {count}", functools.partial(measured, count, name)
    static = functools.partial(
        measured, work.rows[0], f"{name}, static cache", cache_implementation="static"
    )
    yield "static cache", static
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated
        yield "peak memory", lambda: [row("peak memory, torch, device", peak() / 1e9, "GB")]


def vllm(shape: str, work: Work) -> Iterator[Step]:
    """vLLM's offline engine on random weights, all prompts given at once."""
    from vllm import LLM, SamplingParams

    folder = tempfile.TemporaryDirectory()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **SHAPES[shape]}
    config |= {"max_position_embeddings": 4096, "torch_dtype": "bfloat16"}
    (Path(folder.name) / "config.json").write_text(json.dumps(config))
    engine = LLM(
        model=folder.name,
        load_format="dummy",
        skip_tokenizer_init=True,
        max_model_len=work.prompt + work.steps,
        enable_prefix_caching=False,
    )
    new = work.steps
    sampling = SamplingParams(temperature=0, max_tokens=new, ignore_eos=True, detokenize=False)

    def measured(count: int) -> list[Row]:
        drawn = np.random.default_rng(0).integers(
            3, SHAPES[shape]["vocab_size"], (count, work.prompt)
        )
        prompts = [{"prompt_token_ids": tokens} for tokens in drawn.tolist()]

        def run() -> None:
            engine.generate(prompts, sampling, use_tqdm=False)

        run()
        taken = seconds(run, REPEATS)
        return [row(f"vLLM, batch {count}", count * new / taken, "tokens/s")]

    for count in work.rows:
        yield f"batch {count}", functools.partial(measured, count)
    folder.cleanup()
