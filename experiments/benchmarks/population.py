"""Merging a population: time per candidate and memory, for 1 and for 16 candidates at once.

Candidates are merged as a search merges them, into a buffer that holds all of them. The model has
10 M parameters in float32, three sources. Memory is the compiler's own analysis of the program.

    python experiments/benchmarks/population.py --out population.json      (about 1 minute, 2 cores)
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from measure import Row, main, row, seconds_in_turn

from evojax_merge.operators import Operator, dare_ties, init_statistics, karcher, merge, ties
from evojax_merge.population import COMPILER_OPTIONS, fill, population_axes
from evojax_merge.types import Params

LAYERS, WIDTH, SOURCES, REPEATS = 10, 1024, 3, 9
OPERATORS: dict[str, tuple[Operator, dict[str, float]]] = {
    "ties": (ties(), {"weight": 0.5, "density": 0.5}),
    "dare_ties": (dare_ties(), {"weight": 0.5, "density": 0.5}),
    "karcher": (karcher(), {"weight": 1.0}),
}


def benchmark() -> list[Row]:
    """All rows."""
    rng = np.random.default_rng(0)
    shape = (LAYERS, WIDTH, WIDTH)
    base = 0.02 * rng.standard_normal(shape, dtype=np.float32)
    sources = tuple(
        {"layers": {"weight": jnp.asarray(base + 0.002 * rng.standard_normal(shape, np.float32))}}
        for _ in range(SOURCES)
    )
    tree = {"layers": {"weight": jnp.asarray(base)}}
    rows: list[Row] = []
    for name, (operator, values) in OPERATORS.items():
        statistics = init_statistics(operator, tree, sources)
        runs = {
            count: program(operator, values, (tree, sources, statistics), count)
            for count in (1, 16)
        }
        times = seconds_in_turn([run for run, _ in runs.values()], REPEATS)
        alone, together = times[0], times[1] / 16
        rows.append(
            row(f"{name}, a candidate of 16", together, "s", "alone", alone, alone / together)
        )
        extra = runs[16][1] / base.nbytes
        rows.append(row(f"{name}, memory beyond inputs and results", extra, "models"))
    return rows


def program(
    operator: Operator,
    values: dict[str, float],
    materials: tuple[Params, tuple[Params, ...], Any],
    count: int,
) -> tuple[Any, int]:
    """A function that merges so many candidates, and the bytes it takes for itself."""
    base, sources, statistics = materials
    axes = population_axes(base)
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
            return merge(operator, base, sources, {"layers.weight": own}, statistics, jnp.uint32(0))

        return fill(buffer, axes, count, make)

    state = {"buffer": {"layers": {"weight": jnp.zeros((LAYERS, count, WIDTH, WIDTH))}}}
    arguments = ((base if operator.needs_base else None, sources, statistics), coefficients)
    jitted = jax.jit(merge_all, donate_argnums=0, compiler_options=COMPILER_OPTIONS)
    compiled = jitted.lower(state["buffer"], *arguments, np.int32(count)).compile()

    def run() -> None:
        state["buffer"] = jax.block_until_ready(
            compiled(state["buffer"], *arguments, np.int32(count))
        )

    run()
    return run, compiled.memory_analysis().temp_size_in_bytes


if __name__ == "__main__":
    main(benchmark)
