"""A merge from file to file: `evojax-merge apply` against mergekit 0.1.5 on the same YAML.

A base and three fine-tunes of a 161 M-parameter Llama (random weights, the fine-tunes near the
base) lie in four shards each; the result is written in shards of that size too. Each merge is a
process of its own; the two programs take turns. Seconds count from reading the YAML to the complete
directory, after imports, so with the compilation of ours; processor seconds of all threads tell on
a busy machine; those of the whole process, imports and all, are what a user waits. Memory is the
peak of resident pages: of the whole process, and what the merge adds to the process that has
imported. Linux only.

    python experiments/benchmarks/apply.py --out apply.json      (about 30 minutes, 2 cores)
    python experiments/benchmarks/apply.py --dtype bfloat16 --methods slerp ties --repeats 5
"""

import argparse
import dataclasses
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401  (names bfloat16 to NumPy)
import numpy as np
import yaml
from measure import Row, layer_shapes, row
from safetensors.numpy import save_file

HIDDEN, MLP, VOCAB = 1024, 2816, 16_000
LAYER_SHAPES = layer_shapes(HIDDEN, MLP)
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": MLP,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
SOURCES, SHARDS = 3, 4
PEER = "mergekit 0.1.5"
SLOW = 10.0
"""Seconds from which the peer is measured once."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A merge: the parameters of each source and of all, the sources, with a base or not."""

    each: dict[str, float] = dataclasses.field(default_factory=dict)
    shared: dict[str, float] = dataclasses.field(default_factory=dict)
    sources: int = SOURCES
    base: bool = True


HALF = {"weight": 0.5, "density": 0.5}
CASES = {
    "passthrough": Case(sources=1, base=False),
    "linear": Case({"weight": 0.5}, base=False),
    "slerp": Case(shared={"t": 0.5}, sources=1),
    "nuslerp": Case({"weight": 0.5}, sources=2, base=False),
    "multislerp": Case({"weight": 0.5}, base=False),
    "karcher": Case(base=False),
    "model_stock": Case(),
    "task_arithmetic": Case({"weight": 0.5}),
    "ties": Case(HALF),
    "breadcrumbs": Case(HALF | {"gamma": 0.01}),
    "breadcrumbs_ties": Case(HALF | {"gamma": 0.01}),
    "dare_linear": Case(HALF),
    "dare_ties": Case(HALF),
    "della": Case(HALF | {"epsilon": 0.15}),
    "della_linear": Case(HALF | {"epsilon": 0.15}),
    "sce": Case(shared={"select_topk": 0.5}),
    "ram": Case(),
    "ramplus_tl": Case(),
    "nearswap": Case(shared={"t": 0.001}, sources=1),
    "arcee_fusion": Case(sources=1),
}


class Cost(NamedTuple):
    """Of one merge: seconds, and bytes of resident memory at most, of all or beyond the imports."""

    seconds: float
    processor: float
    whole: float
    peak: float
    added: float


def benchmark(dtypes: list[str], methods: list[str], repeats: int, layers: int) -> list[Row]:
    """All rows."""
    rows = []
    heads = ("s", "processor s", "whole s", "peak MB", "added MB")
    print(f"{'ours, theirs, their / ours':28}{''.join(f'{head:^23}' for head in heads)}")
    for dtype in dtypes:
        with tempfile.TemporaryDirectory() as directory:
            models, shard_size = write_models(Path(directory), dtype, layers)
            for method in methods:
                rows += of_method(method, dtype, models, shard_size, Path(directory), repeats)
    return rows


def of_method(
    method: str, dtype: str, models: list[Path], shard_size: int, directory: Path, repeats: int
) -> list[Row]:
    """The rows of one method."""
    recipe = directory / "merge.yml"
    recipe.write_text(yaml.safe_dump(tree(method, dtype, models)))
    costs: dict[str, list[Cost]] = {"evojax_merge": [], "mergekit": []}
    for _ in range(repeats):
        for program, found in costs.items():
            if program == "mergekit" and found and found[0].seconds > SLOW:
                continue
            found.append(run(program, recipe, directory / "merged", shard_size))
    ours, theirs = (Cost(*map(median, zip(*found, strict=True))) for found in costs.values())
    name = f"apply {method}, {dtype}"
    pairs = (
        (name, "s", 1.0, ours.seconds, theirs.seconds),
        (f"{name}, processor", "s", 1.0, ours.processor, theirs.processor),
        (f"{name}, whole process", "s", 1.0, ours.whole, theirs.whole),
        (f"{name}, peak memory", "MB", 1e6, ours.peak, theirs.peak),
        (f"{name}, added memory", "MB", 1e6, ours.added, theirs.added),
    )
    figures = [f"{a / by:8.4g} {b / by:7.4g} {b / a:5.2f}" for _, _, by, a, b in pairs]
    print(f"{method + ', ' + dtype:26} {' '.join(figures)}", flush=True)
    return [row(n, a / by, unit, PEER, b / by, b / a) for n, unit, by, a, b in pairs]


def tree(method: str, dtype: str, models: list[Path]) -> dict[str, Any]:
    """The YAML of a merge, computed in the dtype of the models as in mergekit's examples."""
    case = CASES[method]
    base, *sources = map(str, models)
    entries = [{"model": model, "parameters": case.each} for model in sources[: case.sources]]
    found = {"merge_method": method, "models": entries, "dtype": dtype}
    if case.base:
        found["base_model"] = base
    if case.base and case.sources == 1:
        entries.insert(0, {"model": base, "parameters": {}})
    return found | {"parameters": case.shared}


def write_models(directory: Path, dtype: str, layers: int) -> tuple[list[Path], int]:
    """A base and fine-tunes of it, and the bytes of a shard."""
    rng = np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN)}
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{k}.weight": v for k, v in LAYER_SHAPES.items()}
    shapes |= {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCAB, HIDDEN)}
    base = {k: 0.02 * rng.standard_normal(v, dtype=np.float32) for k, v in shapes.items()}
    size = sum(v.size for v in base.values()) * np.dtype(dtype).itemsize
    paths = [directory / name for name in ("base", *(f"source-{i}" for i in range(SOURCES)))]
    for path in paths:
        scale = np.float32(0.0 if path.name == "base" else 0.002)
        tensors = {
            k: (v + scale * rng.standard_normal(v.shape, dtype=np.float32)).astype(dtype)
            for k, v in base.items()
        }
        path.mkdir()
        config = CONFIG | {"num_hidden_layers": layers, "torch_dtype": dtype}
        (path / "config.json").write_text(json.dumps(config))
        write_shards(path, tensors, -(-size // SHARDS))
    os.sync()  # or the disk is still writing while the first merges are timed
    return paths, -(-size // SHARDS)


def write_shards(directory: Path, tensors: dict[str, np.ndarray], most: int) -> None:
    """The tensors in order, in files of ``most`` bytes or a little more, and their index."""
    files: dict[int, dict[str, np.ndarray]] = {}
    offset = 0
    for name, tensor in tensors.items():
        files.setdefault(offset // most, {})[name] = tensor
        offset += tensor.nbytes
    weight_map = {}
    for number, part in enumerate(files.values(), start=1):
        file = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        save_file(part, directory / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": offset}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def run(program: str, recipe: Path, out: Path, shard_size: int) -> Cost:
    """One merge in a process of its own; its result is removed."""
    command = [sys.executable, __file__, "--run", program, str(recipe), str(out), str(shard_size)]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    whole = time.perf_counter() - start
    if len(list(out.glob("*.safetensors"))) < SHARDS:
        raise RuntimeError(f"{program} did not write {SHARDS} shards for\n{recipe.read_text()}")
    shutil.rmtree(out)
    return Cost(**json.loads(done.stdout.splitlines()[-1]), whole=whole)


def child(program: str, recipe: str, out: str, shard_size: str) -> None:
    """What runs in that process: what it can tell of its cost as the last line of its output."""
    merge = {"evojax_merge": ours, "mergekit": mergekit}[program](int(shard_size))
    before = resident("VmRSS")
    # The peak starts at what is resident now (that of the imports is left out).
    Path("/proc/self/clear_refs").write_text("5")
    start, worked = time.perf_counter(), time.process_time()
    merge(recipe, out)
    seconds, processor = time.perf_counter() - start, time.process_time() - worked
    peak = resident("VmHWM")
    costs = {"seconds": seconds, "processor": processor, "peak": peak, "added": peak - before}
    print(json.dumps(costs))


def ours(shard_size: int) -> Callable[[str, str], object]:
    """`evojax-merge apply`, imported."""
    exchange = importlib.import_module("evojax_merge.exchange")

    def merge(recipe: str, out: str) -> object:
        plan = exchange.plan_merge(exchange.load_configuration(recipe))
        return exchange.apply_plan(plan, out, max_shard_size=shard_size)

    return merge


def mergekit(shard_size: int) -> Callable[[str, str], object]:
    """`mergekit-yaml`, imported."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    def merge(recipe: str, out: str) -> object:
        config = MergeConfiguration.model_validate(yaml.safe_load(Path(recipe).read_text()))
        options = MergeOptions(
            copy_tokenizer=False, quiet=True, out_shard_size=shard_size, random_seed=0
        )
        return run_merge(config, out, options)

    return merge


def resident(what: str) -> int:
    """Bytes of resident memory now (VmRSS) or at most (VmHWM).

    ru_maxrss would not do: a process inherits it from the one that started it.
    """
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--methods", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, default=10, help="of the models, 12.9 M each")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        child(*options.run)
        return
    rows = benchmark(options.dtype, options.methods, options.repeats, options.layers)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
