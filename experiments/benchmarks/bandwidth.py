"""What part of a copy's bandwidth a candidate of every operator reaches; for an accelerator.

Sources and base are made on the device, in the shapes of a decoder (those of `engine.py`), layers
stacked; a candidate is written into the buffer of the one before, as in a search. Bytes are those
of the sources, of the base where the method takes one, and of the result, each once; what the
statistics of a method hold for every element (ranks of della, steps of sce) is not counted.
"accessed" is what the compiler says the program moves, over those bytes; "temporary" the memory it
takes beside inputs and result, in models. Statistics are computed on the path of a real search,
from NumPy arrays, of one layer, the embedding and the head, and stand for all layers: these are
drawn alike.

    python experiments/benchmarks/bandwidth.py --shape 7b          (a GPU of 140 GB, 4 minutes)
    python experiments/benchmarks/bandwidth.py --shape 25m         (a CPU, 2 minutes)
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from engine import SHAPES, random_model
from layers import stacked_in
from measure import Row, main, row, seconds_in_turn
from operators import HALF, OPERATORS, SOURCES, candidate_coefficients

from evojax_merge import operators as zoo
from evojax_merge.operators import Operator, init_statistics, make_merge
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Params

ALL: dict[str, tuple[Operator, dict[str, float]]] = {
    "passthrough": (zoo.passthrough(), {"scale": 0.9}),
    **OPERATORS,
    "geometric_median": (zoo.geometric_median(), {"weight": 0.5}),
    "breadcrumbs_ties": (zoo.breadcrumbs_ties(), HALF | {"gamma": 0.01}),
    "della_linear": (zoo.della_linear(), HALF | {"epsilon": 0.15}),
    "ramplus": (zoo.ramplus(), {"weight": 1.0}),
    "magmax": (zoo.magmax(), {"weight": 1.0}),
    "sign_only": (zoo.sign_only(), {}),
}
IN_A_ROW, REPEATS = 4, 7
"""Candidates between two looks at the clock, and looks."""


class Measured(NamedTuple):
    """Of one operator.

    Attributes:
        seconds: Of a candidate.
        share: Of the bandwidth of a copy.
        copied: That bandwidth, bytes a second.
        accessed: Bytes that the compiler counts, over those that have to be moved.
        temporary: Memory beside inputs and result, in models.
        compilation: Seconds.
        statistics: Seconds, of one layer and what is not in layers; 0 if they were there.
    """

    seconds: float
    share: float
    copied: float
    accessed: float
    temporary: float
    compilation: float
    statistics: float


def benchmark(shape: str, names: list[str]) -> list[Row]:
    """All rows."""
    bench = Bench.of(shape, SOURCES)
    dtype = bench.base["embed_tokens"]["weight"].dtype
    print(f"{bench.model / 1e9:.3g} GB a model, {dtype}")
    return [one for name in names for one in measured_rows(bench, shape, name)]


def measured_rows(bench: "Bench", shape: str, name: str) -> list[Row]:
    """The rows of one operator."""
    found = bench.measure(name)
    figures = " ".join(f"{key} {value:.4g}" for key, value in found._asdict().items())
    print(f"{name:18} {figures}", flush=True)
    bandwidth = found.share * found.copied / 1e9
    head = f"{name}, {shape}"
    return [
        row(f"{head}: candidate", found.seconds, "s"),
        row(head, bandwidth, "GB/s", "copy", found.copied / 1e9, found.share),
        row(f"{head}: accessed", found.accessed, "of once"),
        row(f"{head}: temporary", found.temporary, "models"),
        row(f"{head}: compilation", found.compilation, "s"),
        row(f"{head}: statistics", found.statistics, "s"),
    ]


class Bench:
    """A base, its fine-tunes, the paths of the leaves that are stacked, and a buffer in use."""

    def __init__(self, base: Params, sources: tuple[Params, ...], stacked: frozenset[str]):
        self.base, self.sources, self.stacked = base, sources, stacked
        self.model = sum(leaf.nbytes for leaf in flatten(base).values())
        self.buffer = jax.tree.map(jnp.copy, base)
        self.small = [
            jax.tree.map(np.asarray, one_layer(tree, stacked)) for tree in (base, *sources)
        ]
        self.kept: dict[str, Any] = {}
        self.copies, self.copied = make_copies()

    @classmethod
    def of(cls, shape: str, sources: int) -> "Bench":
        """A random model of a shape and fine-tunes of it."""
        _, base = random_model(shape)
        tunes = tuple(tuned(base, seed) for seed in range(1, sources + 1))
        return cls(base, tunes, stacked_in(base))

    def measure(self, name: str) -> Measured:
        """Time one operator."""
        operator, values = ALL[name]
        taken = self.sources[: operator.sources[1]]
        statistics, once = self.statistics(operator, len(taken))
        drawn = candidate_coefficients(operator, values, self.base, len(taken))
        candidates = [next(drawn) for _ in range(IN_A_ROW)]
        materials = (self.base if operator.needs_base else None, taken)
        start = time.perf_counter()
        lowered = make_merge(operator, self.stacked).lower(
            self.buffer, *materials, candidates[0], statistics, jnp.uint32(0)
        )
        compiled = lowered.compile()
        compilation = time.perf_counter() - start

        def merges() -> None:
            for candidate in candidates:
                self.buffer = compiled(
                    self.buffer, *materials, candidate, statistics, jnp.uint32(0)
                )
            jax.block_until_ready(self.buffer)

        merges()
        seconds, taken_by_copies = seconds_in_turn((merges, self.copies), REPEATS)
        once_moved = self.model * (len(taken) + operator.needs_base + 1)
        rate = self.copied / taken_by_copies
        counted = (compiled.cost_analysis() or {}).get("bytes accessed", float("nan"))
        return Measured(
            seconds / IN_A_ROW,
            once_moved * IN_A_ROW / seconds / rate,
            rate,
            counted / once_moved,
            compiled.memory_analysis().temp_size_in_bytes / self.model,
            compilation,
            once,
        )

    def statistics(self, operator: Operator, sources: int) -> tuple[Any, float]:
        """For all layers, and the seconds that those of one took."""
        name = f"{operator.statistics_name or operator.name} {sources}"
        start = time.perf_counter()
        if name not in self.kept:
            base, *others = self.small
            self.kept[name] = jax.block_until_ready(
                init_statistics(operator, base, tuple(others[:sources]), stacked=self.stacked)
            )
        seconds = time.perf_counter() - start
        return self._for_all_layers(operator, self.kept[name], sources), seconds

    def _for_all_layers(self, operator: Operator, statistics: Any, sources: int) -> Any:
        spread = {}
        for path, leaf in flatten(self.base).items():
            spread[path] = statistics[path]
            if path in self.stacked:
                axes = layer_axes(operator, sources, leaf.ndim)
                spread[path] = jax.tree.map(
                    lambda value, axis, layers=leaf.shape[0]: jnp.repeat(value, layers, axis),
                    statistics[path],
                    axes,
                )
        return spread


def tuned(base: Params, seed: int) -> Params:
    """A fine-tune of a model."""
    keys = iter(jax.random.split(jax.random.key(seed), len(flatten(base))))

    @jax.jit
    def moved(key: Array, leaf: Array) -> Array:
        noise = 0.002 * jax.random.normal(key, leaf.shape, jnp.float32)
        return (leaf.astype(jnp.float32) + noise).astype(leaf.dtype)

    return jax.tree.map(lambda leaf: moved(next(keys), leaf), base)


def one_layer(params: Params, stacked: frozenset[str]) -> Params:
    """A model with the first layer of its stacks alone."""
    return unflatten(
        {path: leaf[:1] if path in stacked else leaf for path, leaf in flatten(params).items()}
    )


def layer_axes(operator: Operator, sources: int, ndim: int) -> Any:
    """The axis that counts layers in each of an operator's statistics of a stacked leaf."""

    def shapes(layers: int) -> Any:
        rng = np.random.default_rng(0)
        base, *others = rng.standard_normal((sources + 1, layers, *(4,) * (ndim - 1)), np.float32)
        return operator.init(base if operator.needs_base else None, tuple(others), True)

    def axis(few: Array, more: Array) -> int:
        return next(i for i, (a, b) in enumerate(zip(few.shape, more.shape, strict=True)) if a != b)

    return jax.tree.map(axis, shapes(5), shapes(7))


def make_copies() -> tuple[Callable[[], None], int]:
    """Copies into memory in use, as many as candidates are timed, and the bytes they move.

    The faster of the runtime's own copy and of a program that reads and writes.
    """
    elements = 2**30 if jax.default_backend() == "gpu" else 2**25
    source = jnp.ones(elements, jnp.bfloat16)
    state = {"out": jnp.zeros_like(source)}

    def repeated(function: Callable[[Array], Array]) -> Callable[[], None]:
        copy = jax.jit(lambda out, x: function(x), donate_argnums=0, keep_unused=True)

        def copies() -> None:
            for _ in range(IN_A_ROW):
                state["out"] = copy(state["out"], source)
            jax.block_until_ready(state["out"])

        copies()
        return copies

    ways = [repeated(jnp.copy), repeated(lambda x: x * 2)]
    times = seconds_in_turn(ways, REPEATS)
    return ways[times.index(min(times))], 2 * source.nbytes * IN_A_ROW


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="25m")
    parser.add_argument("--names", nargs="+", choices=ALL, default=list(ALL))
    main(benchmark, parser)
