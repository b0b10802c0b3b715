"""Merging three fine-tunes of a 97 M-parameter Llama, ours against mergekit 0.1.5 in process.

Both read the same safetensors files and hold everything in memory; a candidate is one merge with
new coefficients. mergekit has all cores. Ours writes into the buffer of the candidate before, as a
search does; the rows "fresh" allocate a new result each time. Bandwidth counts every source, the
base and the result once; it is compared with a copy (one read, one write) into a buffer in use,
measured in turn with the merges, so that other load on the machine meets both.

    python experiments/benchmarks/operators.py --out operators.json      (about 13 minutes, 2 cores)
    python experiments/benchmarks/operators.py --cores 1                 (both on one core)
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from layers import stacked_in
from measure import Row, cores, layer_shapes, main, row, seconds, seconds_in_turn
from safetensors.numpy import load_file, save_file

from evojax_merge import operators as zoo
from evojax_merge.operators import (
    Operator,
    constant_coefficients,
    init_statistics,
    make_merge,
    merge,
)
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Params

LAYERS, HIDDEN, MLP, VOCAB = 12, 768, 2048, 16_000
LAYER_SHAPES = layer_shapes(HIDDEN, MLP)
SOURCES = 3
SLOW = 4.0
"""Seconds from which the peer is measured once."""
OURS_REPEATS, FRESH_REPEATS, PEER_REPEATS = 15, 5, 3
COPIED = 100_000_000
PEER = "mergekit 0.1.5"
HALF = {"weight": 0.5, "density": 0.5}
OPERATORS: dict[str, tuple[Operator, dict[str, float]]] = {
    "linear": (zoo.linear(), {"weight": 0.5}),
    "slerp": (zoo.slerp(), {"t": 0.5}),
    "nuslerp": (zoo.nuslerp(), {"weight": 0.5}),
    "multislerp": (zoo.multislerp(), {"weight": 0.5}),
    "karcher": (zoo.karcher(), {"weight": 1.0}),
    "model_stock": (zoo.model_stock(), {"strength": 1.0}),
    "task_arithmetic": (zoo.task_arithmetic(), {"weight": 0.5}),
    "ties": (zoo.ties(), HALF),
    "breadcrumbs": (zoo.breadcrumbs(), HALF | {"gamma": 0.01}),
    "della": (zoo.della(), HALF | {"epsilon": 0.15}),
    "dare_linear": (zoo.dare_linear(), HALF),
    "dare_ties": (zoo.dare_ties(), HALF),
    "sce": (zoo.sce(), {"select_topk": 0.5, "weight": 1.0}),
    "ram": (zoo.ram(), {"weight": 1.0}),
    "nearswap": (zoo.nearswap(), {"t": 0.001}),
    "arcee_fusion": (zoo.arcee_fusion(), {"spread": 1.5}),
}
WITHOUT_BASE = ("linear", "nuslerp", "multislerp", "karcher")
"""Methods to which mergekit gives no base."""
OURS_ALONE = {"karcher": ("weight",), "model_stock": ("strength",), "sce": ("weight",)}
OURS_ALONE |= {"ram": ("weight",), "arcee_fusion": ("spread",)}
"""Coefficients that mergekit's method does not have."""
SHARED = ("t", "select_topk")
"""Coefficients that are one for all sources."""


def benchmark() -> list[Row]:
    """All rows."""
    return [row for dtype in ("float32", "bfloat16") for row in of_dtype(dtype)]


def of_dtype(dtype: str) -> list[Row]:
    """The rows of sources stored in one dtype."""
    size = np.dtype(dtype).itemsize
    with tempfile.TemporaryDirectory() as directory:
        files = write_models(Path(directory), dtype)
        base, *sources = (load_stacked(file) for file in files)
        copy = make_copy()
        rows = []
        for name, (operator, values) in OPERATORS.items():
            taken = tuple(sources[: operator.sources[1]])
            copied, time_ours, time_fresh, time_init = ours(operator, values, base, taken, copy)
            time_peer = mergekit(name, values, files[: 1 + len(taken)])
            parameters = sum(leaf.size for leaf in flatten(base).values())
            passes = len(taken) + operator.needs_base + 1
            bandwidth = parameters * size * passes / time_ours / 1e9
            name = name if dtype == "float32" else f"{name}, {dtype}"
            rows += [
                row(name, time_ours, "s", PEER, time_peer, time_peer / time_ours),
                row(f"{name} fresh", time_fresh, "s", PEER, time_peer, time_peer / time_fresh),
                row(f"{name} bandwidth", bandwidth, "GB/s", "copy", copied, bandwidth / copied),
                row(f"{name} statistics, once", time_init, "s"),
            ]
        return rows


def write_models(directory: Path, dtype: str) -> list[Path]:
    """A base and fine-tunes of it as Hugging Face would name them."""
    rng = np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        shapes |= {f"model.layers.{layer}.{k}.weight": v for k, v in LAYER_SHAPES.items()}
    base = {k: 0.02 * rng.standard_normal(v, dtype=np.float32) for k, v in shapes.items()}
    files = [directory / "base.safetensors"]
    save_file(as_dtype(base, dtype), files[0])
    for index in range(SOURCES):
        files.append(directory / f"source-{index}.safetensors")
        tuned = {
            k: v + 0.002 * rng.standard_normal(v.shape, dtype=np.float32) for k, v in base.items()
        }
        save_file(as_dtype(tuned, dtype), files[-1])
    return files


def as_dtype(tensors: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """The tensors rounded to a dtype."""
    return {name: tensor.astype(np.dtype(dtype)) for name, tensor in tensors.items()}


def load_stacked(file: Path) -> Params:
    """The parameter tree of a file, layers stacked, on the device."""
    tensors = load_file(file)
    flat = {f"{k}.weight": tensors[f"model.{k}.weight"] for k in ("embed_tokens", "norm")}
    for kind in LAYER_SHAPES:
        names = [f"model.layers.{layer}.{kind}.weight" for layer in range(LAYERS)]
        flat[f"layers.{kind}.weight"] = np.stack([tensors[name] for name in names])
    return jax.tree.map(jnp.asarray, unflatten(flat))


def ours(
    operator: Operator,
    values: dict[str, float],
    base: Params,
    sources: tuple[Params, ...],
    copy: Callable[[], None],
) -> tuple[float, float, float, float]:
    """GB/s of a copy, seconds per candidate into a used and a fresh buffer, and of statistics."""
    stacked = stacked_in(base)
    start = time.perf_counter()
    statistics = jax.block_until_ready(init_statistics(operator, base, sources, stacked=stacked))
    time_init = time.perf_counter() - start
    candidates = candidate_coefficients(operator, values, base, len(sources))
    seed = jnp.uint32(0)

    fresh = jax.jit(lambda *arguments: merge(operator, *arguments, stacked=stacked))
    into = make_merge(operator, stacked)
    state = {"buffer": jax.tree.map(jnp.copy, base)}

    def one_into() -> None:
        state["buffer"] = jax.block_until_ready(
            into(state["buffer"], base, sources, next(candidates), statistics, seed)
        )

    def one_fresh() -> None:
        jax.block_until_ready(fresh(base, sources, next(candidates), statistics, seed))

    one_into(), one_fresh()
    time_copy, time_into = seconds_in_turn((copy, one_into), OURS_REPEATS)
    return COPIED * 8 / time_copy / 1e9, time_into, seconds(one_fresh, FRESH_REPEATS), time_init


def candidate_coefficients(
    operator: Operator, values: dict[str, float], base: Params, sources: int
) -> Iterator[dict]:
    """New coefficients for every candidate, all within a tenth of ``values``."""
    rng = np.random.default_rng(1)
    while True:
        drawn = {name: value * rng.uniform(0.9, 1.1) for name, value in values.items()}
        yield jax.block_until_ready(constant_coefficients(operator, base, sources, **drawn))


def mergekit(name: str, values: dict[str, float], files: list[Path]) -> float:
    """Seconds per candidate of mergekit's in-memory interface."""
    import torch
    from mergekit.merge_methods import merge_state_dicts
    from safetensors.torch import load_file

    torch.set_num_threads(cores())
    needs_base = name not in (*WITHOUT_BASE, "slerp")
    models = {file.stem: load_file(file) for file in (files if needs_base else files[1:])}
    base = "base" if needs_base else files[1].stem if name == "slerp" else None
    sources = [file.stem for file in files[1:]]
    parameters = {
        key: value if key in SHARED else dict.fromkeys(sources, value)
        for key, value in values.items()
        if key not in OURS_ALONE.get(name, ())
    }

    def one() -> None:
        with torch.no_grad():
            merge_state_dicts(models, name, base=base, parameters=parameters)

    first = seconds(one, 1)
    return first if first > SLOW else seconds(one, PEER_REPEATS)


def make_copy() -> Callable[[], None]:
    """The fastest of three ways to copy 400 MB into memory already in use."""
    source = np.random.default_rng(0).standard_normal(COPIED, dtype=np.float32)
    target = np.empty_like(source)
    workers = cores()
    pool = ThreadPoolExecutor(workers)
    parts = list(zip(*(np.array_split(x, workers) for x in (target, source)), strict=True))
    device = jnp.asarray(source)
    # Written into a buffer that is given up, as the merges are; x alone would be aliased, not read.
    scale = jax.jit(lambda out, x: x * 2.0, donate_argnums=0, keep_unused=True)
    state = {"out": jnp.zeros_like(device)}

    def one_thread() -> None:
        np.copyto(target, source)

    def all_threads() -> None:
        list(pool.map(lambda pair: np.copyto(*pair), parts))

    def xla() -> None:
        state["out"] = jax.block_until_ready(scale(state["out"], device))

    ways = (one_thread, all_threads, xla)
    times = seconds_in_turn(ways, OURS_REPEATS)
    return ways[times.index(min(times))]


if __name__ == "__main__":
    main(benchmark)
