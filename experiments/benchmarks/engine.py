"""The engine against what the hardware allows, and against itself without what it does.

    python experiments/benchmarks/engine.py --out engine.json
    python experiments/benchmarks/engine.py --shape 7b --parts limits path   (a GPU of 80 GB)

Parts:

- ``limits``: a decode step against the time that its bytes (weights and cache, read once) take at
  the measured copy bandwidth; prefill and scoring against the time that their FLOPs take at the
  measured matmul rate; for a plain model with its layers in buffers of their own, as a search
  runs it, and for a path that repeats layers of a stacked one, at batch 1 and 32. Beside it
  transformers' ``generate`` with a static cache, compiled where there is a GPU.
- ``path``: a decode step against the path's length.
- ``uneven``: answers of 4 to 256 tokens, log-uniform, in a few slots that finished answers leave,
  against batches of as many, each until its longest answer has ended.
- ``prefix``: scoring with a prefix that all rows share, read once, against read with every row.

Weights are random. A model that fits into the processor's cache decodes faster than the limit,
which is that of memory. In ``uneven`` the head follows the embedding by one token: the model
counts, and the last token of a prompt decides how long the answer is.
"""

import argparse
import functools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch is to have memory too

import jax
import jax.numpy as jnp
import numpy as np
from measure import Row, main, row, seconds, seconds_in_turn

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.inference.decoding import Prompts
from evojax_merge.models.decoder.inference.generation import make_generate
from evojax_merge.models.decoder.inference.greedy import Greedy, Last
from evojax_merge.models.decoder.inference.prefix import Primed, empty_cache
from evojax_merge.models.decoder.inference.scoring import make_loglikelihood, sequence_loglikelihood
from evojax_merge.models.decoder.path import PATH, make_path
from evojax_merge.models.family import DECODER
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Params

SHAPES: dict[str, dict[str, Any]] = {
    "1m": {
        "vocab_size": 260,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 5,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
    "25m": {
        "vocab_size": 260,
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
    "1b": {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "7b": {
        "vocab_size": 32_000,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
WIDE = ("1b", "7b")
"""In bfloat16; the others are float32."""

PARTS = {"limits": "25m", "path": "25m", "uneven": "1m", "prefix": "1m"}
"""With the shape that is measured where none is asked for."""

BATCHES, PROMPT, STEPS, REPEATS = (1, 32), 128, 32, 5
SLOTS, TURNS, LONGEST = 32, 8, 256


class Limits(NamedTuple):
    """Of the default device, as measured.

    Attributes:
        bandwidth: Of a copy, bytes read and bytes written per second.
        rate: Of a matrix product, FLOP/s.
    """

    bandwidth: float
    rate: float


def measured_limits(dtype: Any) -> Limits:
    gpu = jax.default_backend() == "gpu"
    source = jnp.ones(2**30 if gpu else 2**26, dtype)
    copy = jax.jit(lambda x: x + 1)
    side = 8192 if gpu else 1024
    matrix = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
    product = jax.jit(lambda x: x @ x)
    copy_seconds = seconds(waiting(copy, source), 2 * REPEATS)
    product_seconds = seconds(waiting(product, matrix), 2 * REPEATS)
    return Limits(2 * source.nbytes / copy_seconds, 2 * side**3 / product_seconds)


def waiting(fn: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """``fn`` on these arguments, compiled, and waited for."""
    jax.block_until_ready(fn(*args))
    return lambda: jax.block_until_ready(fn(*args))


def random_model(shape: str, **changes: Any) -> tuple[DecoderConfig, Params]:
    """A decoder of a shape, with ones for norms."""
    config = DecoderConfig.from_hf({"model_type": "llama", **SHAPES[shape], **changes})
    dtype = jnp.bfloat16 if shape in WIDE else jnp.float32

    @functools.partial(jax.jit, static_argnums=1)
    def leaf(key: Array, shape: tuple[int, ...]) -> Array:
        return (0.02 * jax.random.normal(key, shape)).astype(dtype)

    leaves = flatten(DECODER.abstract_params(config))
    keys = jax.random.split(jax.random.key(0), len(leaves))
    return config, unflatten(
        {
            path: jnp.ones(one.shape, dtype) if "norm" in path else leaf(key, one.shape)
            for key, (path, one) in zip(keys, leaves.items(), strict=True)
        }
    )


def counting_model(shape: str) -> tuple[DecoderConfig, Params]:
    """A model whose next token is the last one plus one; what layers add is small, but not zero."""
    config, params = random_model(shape)
    table = 50 * params["embed_tokens"]["weight"]
    layers = dict(params["layers"])
    for block, name in (("self_attn", "o_proj"), ("mlp", "down_proj")):
        small = 0.02 * layers[block][name]["weight"]
        layers[block] = {**layers[block], name: {"weight": small}}
    ends = {
        "embed_tokens": {"weight": table},
        "lm_head": {"weight": jnp.roll(table, 1, axis=0)},
    }
    return config, {**params, "layers": layers, **ends}


def unrolled(config: DecoderConfig, params: Params) -> Params:
    """A model with each layer in buffers of its own, as a search runs it."""
    return DECODER.layout(config).unroll(params)


def alone(config: DecoderConfig, params: Params) -> tuple[Params, Any]:
    """A population of one as a search holds it, and its axes."""
    axes = DECODER.layout(config).unrolled_axes()
    return jax.tree.map(jnp.expand_dims, unrolled(config, params), axes), axes


def weights(config: DecoderConfig, hops: int) -> int:
    """Numbers that a token meets on its way through so many layers and the head."""
    shapes = DECODER.abstract_params(config)
    layers = jax.tree.leaves(shapes["layers"])
    each = sum(math.prod(leaf.shape[1:]) for leaf in layers)
    return hops * each + math.prod(shapes["lm_head"]["weight"].shape)


def decode_bytes(config: DecoderConfig, batch: int, slots: float, itemsize: int) -> float:
    """What a step reads: the weights and so many slots of the cache of each row, once."""
    token = 2 * config.num_layers * config.num_kv_heads * config.head_dim
    return itemsize * (weights(config, config.num_layers) + token * slots * batch)


def reading_flops(config: DecoderConfig, batch: int, length: int, heads: int) -> float:
    """What reading prompts takes, with the head for so many tokens."""
    head = config.vocab_size * config.hidden_size
    pairs = batch * length * (length + 1) / 2
    attention = 4 * pairs * config.num_heads * config.head_dim * config.num_layers
    layers = 2 * (weights(config, config.num_layers) - head) * batch * length
    return layers + attention + 2 * head * heads


def decode_seconds(config: DecoderConfig, params: Params, batch: int, length: int) -> float:
    """Of one step at a cache of ``length`` tokens."""
    greedy = Greedy(config, STEPS, (), 0)
    model = Primed(params, None)
    start = jnp.zeros(batch, jnp.int32)

    @jax.jit
    def run(model: Primed) -> Array:
        cache = empty_cache(config, model.params, batch, length)

        def step(number: Any, state: Any) -> Any:
            return greedy.decode(model, state[0], start, state[1], length - STEPS + number)

        return jax.lax.fori_loop(0, STEPS, step, (Last(start, None), cache))[0].token

    return seconds(waiting(run, model), REPEATS) / STEPS


def limits(shape: str, batches: tuple[int, ...]) -> list[Row]:
    config, params = random_model(shape)
    dtype = params["embed_tokens"]["weight"].dtype
    most = measured_limits(dtype)
    rows = [
        row("copy, read and written", most.bandwidth / 1e9, "GB/s"),
        row(f"matrix product, {dtype}", most.rate / 1e9, "GFLOP/s"),
    ]
    order = np.sort(np.arange(2 * config.num_layers) % config.num_layers)[: config.num_layers]
    routed = {**params, PATH: make_path(order)}
    for name, model in (("plain", unrolled(config, params)), ("path", routed)):
        for batch in batches:
            rows += decoding(f"{shape}, {name}, batch {batch}", config, model, batch, most)
            rows += reading(f"{shape}, {name}, batch {batch}", config, model, batch, most)
    return rows


def decoding(
    name: str, config: DecoderConfig, params: Params, batch: int, most: Limits
) -> list[Row]:
    """A step of decoding, as tokens and as hops per second."""
    slots = PROMPT + STEPS
    taken = decode_seconds(config, params, batch, slots)
    itemsize = params["embed_tokens"]["weight"].dtype.itemsize
    least = decode_bytes(config, batch, slots, itemsize) / most.bandwidth
    theirs = transformers_step(config, batch, itemsize) if PATH not in params else None
    rows = [
        row(f"decode, {name}", batch / taken, "tokens/s", "limit", batch / least, least / taken),
        row(f"decode, {name}", config.num_layers / taken, "hops/s"),
    ]
    if theirs is not None:
        peer = "transformers generate, static cache"
        value = batch / taken
        rows.append(row(f"decode, {name}", value, "tokens/s", peer, batch / theirs, theirs / taken))
    return rows


def reading(
    name: str, config: DecoderConfig, params: Params, batch: int, most: Limits
) -> list[Row]:
    """Prefill, and scoring of every token."""
    tokens = jnp.asarray(np.random.default_rng(0).integers(3, 256, (batch, PROMPT)), jnp.int32)
    start = jnp.zeros(batch, jnp.int32)
    greedy = Greedy(config, STEPS, (), 0)
    prompts = Prompts(tokens, start, None)
    prefill = jax.jit(lambda params: greedy.prefill(Primed(params, None), prompts, PROMPT))
    target = jnp.broadcast_to(jnp.arange(PROMPT) > 0, tokens.shape)
    scoring = jax.jit(
        lambda params: sequence_loglikelihood(config, params, tokens, start, target, kernels=True)
    )
    rows = []
    for kind, run, heads in (("prefill", prefill, batch), ("scoring", scoring, batch * PROMPT)):
        taken = seconds(waiting(run, params), REPEATS)
        least = reading_flops(config, batch, PROMPT, heads) / most.rate
        count = batch * PROMPT
        rows.append(
            row(f"{kind}, {name}", count / taken, "tokens/s", "limit", count / least, least / taken)
        )
    return rows


def transformers_step(config: DecoderConfig, batch: int, itemsize: int) -> float | None:
    """Seconds of one of its decode steps; None without torch, or without its GPU beside ours."""
    try:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError:
        return None
    gpu = jax.default_backend() == "gpu"
    if gpu and not torch.cuda.is_available():
        return None
    own = LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        dtype="bfloat16" if itemsize == 2 else "float32",
    )
    torch.set_default_dtype(torch.bfloat16 if itemsize == 2 else torch.float32)
    with torch.device("cuda" if gpu else "cpu"):
        model = LlamaForCausalLM(own).eval()
        inputs = torch.ones((batch, PROMPT), dtype=torch.long)
    torch.set_default_dtype(torch.float32)

    def run(new: int) -> Any:
        with torch.no_grad():
            return model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
                cache_implementation="static",
            ).cpu()

    few, many = 2, 2 + STEPS
    run(few), run(many)
    short, long = seconds_in_turn((lambda: run(few), lambda: run(many)), REPEATS)
    return (long - short) / STEPS


def path(shape: str, batches: tuple[int, ...]) -> list[Row]:
    """A step against the hops of the path; the arrays hold the longest in all."""
    config, params = random_model(shape)
    most = config.num_layers
    rows = []
    for batch in batches:
        lengths = sorted({1, most // 4, most // 2, most})
        taken = []
        for length in lengths:
            routed = {**params, PATH: make_path(np.arange(length), hops=most)}
            taken.append(decode_seconds(config, routed, batch, PROMPT + STEPS))
        for length, own in zip(lengths, taken, strict=True):
            name = f"step, {shape}, batch {batch}, path of {length}"
            rows.append(
                row(name, 1e3 * own, "ms", f"of {most} hops", 1e3 * taken[-1], taken[-1] / own)
            )
    return rows


def uneven(shape: str, batches: tuple[int, ...]) -> list[Row]:
    """Tokens of answers per second."""
    del batches
    config, params = counting_model(shape)
    last = LONGEST + 3
    rng = np.random.default_rng(0)
    count = SLOTS * TURNS
    lengths = np.exp(rng.uniform(np.log(4), np.log(LONGEST + 1), count)).astype(int)
    tokens = rng.integers(3, last, (count, 48)).astype(np.int32)
    tokens[:, -1] = last - lengths
    start = rng.integers(0, 24, count).astype(np.int32)
    population, axes = alone(config, params)
    make = functools.partial(
        make_generate, config, axes, max_new_tokens=LONGEST, eos_ids=(last,), pad_id=0
    )
    together, in_turn = jax.jit(make()), jax.jit(make(slots=SLOTS))

    def simple() -> np.ndarray:
        parts = [slice(first, first + SLOTS) for first in range(0, count, SLOTS)]
        found = [np.asarray(together(population, tokens[part], start[part])) for part in parts]
        return np.concatenate(found, axis=1)

    def continuous() -> np.ndarray:
        return np.asarray(in_turn(population, tokens, start))

    found = continuous()
    equal = float((simple() == found).mean())
    if not np.array_equal((found[0] != 0).sum(axis=-1), lengths):
        raise RuntimeError("the model does not count, and answers are not as long as was drawn")
    slow, fast = seconds_in_turn((simple, continuous), REPEATS)
    total = int(lengths.sum())
    peer = f"batches of {SLOTS} one after another"
    return [
        row(
            f"uneven answers, {SLOTS} slots",
            total / fast,
            "tokens/s",
            peer,
            total / slow,
            slow / fast,
        ),
        row("uneven answers, tokens equal", equal, "share"),
    ]


def prefix(shape: str, batches: tuple[int, ...]) -> list[Row]:
    """Scoring of short rows behind a long prefix."""
    config, params = random_model(shape)
    shared, own = 2 * PROMPT, 32
    rng = np.random.default_rng(0)
    rows = []
    for batch in batches:
        tokens = rng.integers(3, 256, (batch, shared + own)).astype(np.int32)
        tokens[:, :shared] = tokens[0, :shared]
        start = np.zeros(batch, np.int32)
        target = np.broadcast_to(np.arange(shared + own) > shared, tokens.shape)
        population, axes = alone(config, params)
        runs = [
            waiting(
                jax.jit(make_loglikelihood(config, axes, prefix=length)),
                population,
                tokens,
                start,
                target,
            )
            for length in (0, shared)
        ]
        whole, once = seconds_in_turn(runs, REPEATS)
        name = f"scoring {own} tokens behind {shared}, batch {batch}"
        rows.append(row(name, 1e3 * once, "ms", "prefix in each row", 1e3 * whole, whole / once))
    return rows


def benchmark(shape: str | None, parts: list[str], batches: list[int]) -> list[Row]:
    functions = {"limits": limits, "path": path, "uneven": uneven, "prefix": prefix}
    return [one for part in parts for one in functions[part](shape or PARTS[part], tuple(batches))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, help="default: a small one")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    main(benchmark, parser)
