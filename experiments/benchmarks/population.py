"""Merging a population: time per candidate and memory, for 1 and for 16 candidates at once.

Candidates are merged as a search merges them: into a buffer that holds all 16, or, where a search
holds one at a time (on a CPU), each into the buffer of the one before. There the buffer of 16 is
measured besides. The model has 10 M parameters unless ``--width`` says otherwise, and three
sources. Memory is the compiler's own analysis of the program.

    python experiments/benchmarks/population.py --out population.json      (about 1 minute, 2 cores)
    python experiments/benchmarks/population.py --width 4096               (168 M, a GPU)
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from layers import stacked_in
from measure import Row, main, row, seconds_in_turn

from evojax_merge.measuring.device_memory import is_held_alone
from evojax_merge.operators import Operator, dare_ties, init_statistics, karcher, merge, ties
from evojax_merge.params.population import COMPILER_OPTIONS, fill
from evojax_merge.params.types import Params

LAYERS, SOURCES, REPEATS, POPULATION = 10, 3, 9, 16
OPERATORS: dict[str, tuple[Operator, dict[str, float]]] = {
    "ties": (ties(), {"weight": 0.5, "density": 0.5}),
    "dare_ties": (dare_ties(), {"weight": 0.5, "density": 0.5}),
    "karcher": (karcher(), {"weight": 1.0}),
}


def benchmark(width: int) -> list[Row]:
    """All rows."""
    return [row for dtype in ("float32", "bfloat16") for row in of_dtype(width, dtype)]


def of_dtype(width: int, dtype: str) -> list[Row]:
    """The rows of models in one dtype."""
    shape = (LAYERS, width, width)
    keys = jax.random.split(jax.random.key(0), 1 + SOURCES)
    base, *moves = (jax.random.normal(key, shape) for key in keys)
    ends = [0.02 * base, *(0.02 * base + 0.002 * move for move in moves)]
    tree, *sources = ({"layers": {"weight": end.astype(dtype)}} for end in ends)
    size = tree["layers"]["weight"].nbytes
    rows: list[Row] = []
    for name, (operator, values) in OPERATORS.items():
        statistics = init_statistics(operator, tree, tuple(sources), stacked=stacked_in(tree))
        materials = tree, tuple(sources), statistics
        counts = {1: "alone", POPULATION: f"of {POPULATION} in one buffer"}
        runs = {count: program(operator, values, materials, count) for count in counts}
        if is_held_alone(jax.default_backend(), tree):
            runs[0] = one_after_another(*runs[1])
            counts[0] = f"of {POPULATION}, one after another"
        times = seconds_in_turn([run for run, _ in runs.values()], REPEATS)
        alone, *others = times
        for count, seconds in zip(list(runs)[1:], others, strict=True):
            each = seconds / POPULATION
            label = f"{name}, {dtype}, a candidate {counts[count]}"
            rows.append(row(label, each, "s", "alone", alone, alone / each))
        extra = max(run[1] for run in runs.values()) / size
        rows.append(row(f"{name}, {dtype}, memory of its own", extra, "models"))
    return rows


def one_after_another(run: Any, memory: int) -> tuple[Any, int]:
    """A population of which each candidate takes the place of the one before."""

    def run_all() -> None:
        for _ in range(POPULATION):
            run()

    return run_all, memory


def program(
    operator: Operator,
    values: dict[str, float],
    materials: tuple[Params, tuple[Params, ...], Any],
    count: int,
) -> tuple[Any, int]:
    """A function that merges so many candidates, and the bytes it takes for itself."""
    base, sources, statistics = materials
    axes = {"layers": {"weight": 1}}
    coefficients = {
        name: jnp.asarray(np.random.default_rng(1).uniform(0.4, 0.6, (count, SOURCES)), jnp.float32)
        for name in values
    }

    def merge_all(
        buffer: Params, materials: Any, coefficients: dict[str, jax.Array], count: Any
    ) -> Params:
        base, sources, statistics = materials

        def make(index: Any) -> Params:
            own = {name: value[index] for name, value in coefficients.items()}
            return merge(
                operator,
                base,
                sources,
                {"layers.weight": own},
                statistics,
                jnp.uint32(0),
                stacked=stacked_in(base),
            )

        return fill(buffer, axes, count, make)

    leaf = base["layers"]["weight"]
    layers, *rest = leaf.shape
    state = {"buffer": {"layers": {"weight": jnp.zeros((layers, count, *rest), leaf.dtype)}}}
    arguments = ((base if operator.needs_base else None, sources, statistics), coefficients)
    jitted = jax.jit(
        merge_all, donate_argnums=0, keep_unused=True, compiler_options=COMPILER_OPTIONS
    )
    compiled = jitted.lower(state["buffer"], *arguments, np.int32(count)).compile()

    def run() -> None:
        state["buffer"] = jax.block_until_ready(
            compiled(state["buffer"], *arguments, np.int32(count))
        )

    run()
    return run, compiled.memory_analysis().temp_size_in_bytes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=1024, help="of the model's square matrices")
    main(benchmark, parser)
