"""Greedy generation at batch 64: ours against transformers' ``generate``, same model and prompts.

    python experiments/benchmarks/generation.py --out generation.json

Both produce exactly ``NEW`` tokens for each prompt, with left padding, in float32 on all cores;
the tokens are compared before anything is timed. The model is the size of the quickstart's.
"""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from measure import Row, main, row, seconds_in_turn
from transformers import LlamaConfig, LlamaForCausalLM

from evojax_merge import load
from evojax_merge.models.decoder.inference.generation import make_generate

BATCH, PROMPT, NEW, REPEATS = 64, 48, 32, 7
SIZES = {
    "1 M parameters": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 5},
    "25 M parameters": {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8},
}


def measure(name: str, size: dict[str, int], folder: Path) -> list[Row]:
    config = LlamaConfig(
        vocab_size=256,
        num_attention_heads=8,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        **size,
    )
    torch.manual_seed(0)
    theirs = LlamaForCausalLM(config).eval()
    theirs.save_pretrained(folder)
    model = load(folder)
    rng = np.random.default_rng(0)
    start = rng.integers(0, PROMPT // 2, BATCH).astype(np.int32)
    tokens = rng.integers(3, 256, (BATCH, PROMPT)).astype(np.int32)
    mask = np.arange(PROMPT) >= start[:, None]
    tokens = np.where(mask, tokens, 0)

    layout = model.family.layout(model.config)
    axes = layout.unrolled_axes()
    generate = jax.jit(make_generate(model.config, axes, max_new_tokens=NEW, eos_ids=(), pad_id=0))
    params = jax.tree.map(jnp.expand_dims, layout.unroll(model.params), axes)
    theirs_inputs = {
        "inputs": torch.tensor(tokens, dtype=torch.long),
        "attention_mask": torch.tensor(mask.astype(np.int64)),
        "max_new_tokens": NEW,
        "min_new_tokens": NEW,
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 0,
    }

    def ours_run() -> np.ndarray:
        return np.asarray(generate(params, tokens, start))[0]

    def theirs_run() -> np.ndarray:
        with torch.no_grad():
            return theirs.generate(**theirs_inputs)[:, PROMPT:].numpy()

    agreement = float((ours_run() == theirs_run()).mean())
    ours, peer = seconds_in_turn((ours_run, theirs_run), REPEATS)
    count = BATCH * NEW
    return [
        row(
            f"generate, batch {BATCH}, {name}",
            count / ours,
            "tokens/s",
            "transformers generate",
            count / peer,
            peer / ours,
        ),
        row(f"generate, tokens equal, {name}", agreement, "share"),
    ]


def benchmark() -> list[Row]:
    rows = []
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(name, size, Path(folder))
    return rows


if __name__ == "__main__":
    main(benchmark)
