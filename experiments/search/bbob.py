"""Which strategy for how many genes: BBOB with noise, data-flow genotypes, overhead.

python -m experiments.search.bbob [--parts bbob dataflow overhead] [--seeds 7] [--out FILE]

Every strategy as its name configures it. About 25 minutes of a core.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hydra.utils import instantiate
from rich.console import Console
from rich.table import Table

from evojax_merge.config import compose
from evojax_merge.params.types import Array, Float, Population
from evojax_merge.strategies import Setting
from experiments.search import landscapes
from experiments.search.ratios import Runs, ratio

STRATEGIES = (
    "cma_es",
    "sep_cma_es",
    "lm_ma_es",
    "cr_fm_nes",
    "snes",
    "pgpe",
    "open_es",
    "differential_evolution",
    "pso",
    "simple_ga",
    "random",
)
OVERHEAD_ALONE = ("nsga2", "nsga3", "optuna_cma")
"""Strategies of which the overhead alone is measured here."""

CHOOSING = ("catcma",)
"""Strategies for choices, which BBOB has none of; they are named to be measured on data flow."""

BUDGETS = {6: 2_000, 64: 4_000, 512: 4_000}
"""Evaluations for each number of genes."""

NOISES = {6: (0.0, 0.05), 64: (0.05,), 512: (0.05,)}
"""Standard deviation of the fitness, as a share of the gap between the start and the optimum; 0.05
is that of an accuracy on 256 items, 50 %, that can rise by 60 points."""

TARGETS = (0.5, 0.1, 0.01)
"""Shares of that gap which remain, without the noise, in the best candidate so far."""

DATAFLOW_SIGNS = (192, 2144)
POPULATION, GENERATIONS = 128, 100
"""The paper's for data flow."""

QUICKSTART_GENERATION = 24.0
"""Seconds of 128 candidates at 5.4 a second."""

Gap = Callable[[Population, Any], Float[Array, " pop"]]


def build(name: str, box: landscapes.Box, **changes: Any) -> Any:
    """The strategy of conf/strategy/NAME.yaml on a box."""
    overrides = [f"strategy={name}", "model.sources=[x]"]
    overrides += [f"strategy.{key}={value}" for key, value in changes.items()]
    told = {"objectives": ("gap", "length")} if name.startswith("nsga") else {}
    ends = {"evaluations": 100_000} if name == "optuna_cma" else {}
    setting = Setting(*box[:4], choices=box.choices, **told)
    return instantiate(compose(overrides).strategy)(setting, **ends)


def make_search(
    strategy: Any, gap_fn: Gap, generations: int
) -> Callable[[Array, Any, float], tuple[Array, Array]]:
    """(key, instance, noise) -> the generation that reached each target (0: none did), and the best
    gap after each generation; compiled once, ends with the last target."""
    targets = jnp.asarray(TARGETS)

    def advance(carry: tuple, key: Array, instance: Any, noise: Array) -> tuple:
        generation, state, reached, best = carry
        key_ask, key_tell, key_noise = jax.random.split(jax.random.fold_in(key, generation), 3)
        population, state = strategy.ask(key_ask, state)
        gap = gap_fn(population, instance)
        fitness = -gap + noise * jax.random.normal(key_noise, gap.shape)
        state = strategy.tell(key_tell, population, fitness, state)
        last = jnp.where(generation > 0, best[generation - 1], jnp.inf)
        lowest = jnp.minimum(last, gap.min())
        reached = jnp.where((reached == 0) & (lowest <= targets), generation + 1, reached)
        return generation + 1, state, reached, best.at[generation].set(lowest)

    @jax.jit
    def search(key: Array, instance: Any, noise: Array) -> tuple[Array, Array]:
        key_init, key = jax.random.split(key)
        begun = (
            jnp.int32(0),
            strategy.init(key_init),
            jnp.zeros(len(TARGETS), jnp.int32),
            jnp.full(generations, jnp.inf, jnp.float32),
        )
        _, _, reached, best = jax.lax.while_loop(
            lambda carry: (carry[0] < generations) & (carry[2] == 0).any(),
            lambda carry: advance(carry, key, instance, noise),
            begun,
        )
        return reached, best

    return search


def run_bbob(
    names: Sequence[str], sizes: Sequence[int], seeds: int, tell: Callable[[dict], None]
) -> None:
    """Evaluations to each target of every strategy, function, seed and noise."""
    for dims in sizes:
        budget = BUDGETS[dims]
        instances = {
            (name, seed): landscapes.make_instance(name, dims, seed)
            for name in landscapes.FUNCTIONS
            for seed in range(seeds)
        }
        side = np.full(dims, landscapes.HALF, np.float32)
        box = landscapes.Box(-side, side, 0 * side, 2 * side)
        for strategy_name in names:
            strategy = build(strategy_name, box)
            size = strategy.population_size
            search = make_search(strategy, landscapes.bbob_gap, budget // size)
            start = time.perf_counter()
            for noise in NOISES[dims]:
                for function in landscapes.FUNCTIONS:
                    reached = [
                        np.asarray(
                            search(jax.random.key(seed), instances[function, seed], noise)[0]
                        )
                        for seed in range(seeds)
                    ]
                    tell(
                        {
                            "part": "bbob",
                            "dims": dims,
                            "noise": noise,
                            "function": function,
                            "strategy": strategy_name,
                            "population": size,
                            "budget": budget,
                            "evaluations": (np.stack(reached) * size).tolist(),
                        }
                    )
            print(f"bbob {dims} {strategy_name}: {time.perf_counter() - start:.1f} s", flush=True)


def run_dataflow(names: Sequence[str], seeds: int, tell: Callable[[dict], None]) -> None:
    """What remains of the gap after a quarter and all of the paper's evaluations."""
    for signs in DATAFLOW_SIGNS:
        box = landscapes.dataflow_box(signs)
        for name in names:
            strategy = build(name, box, population_size=POPULATION)
            search = make_search(strategy, landscapes.make_dataflow_gap(box), GENERATIONS)
            start = time.perf_counter()
            best = []
            for seed in range(seeds):
                instance = landscapes.make_dataflow_instance(box, signs, seed)
                best.append(np.asarray(search(jax.random.key(seed), instance, 0.05)[1]))
            gaps = np.minimum.accumulate(np.stack(best), axis=1)
            tell(
                {
                    "part": "dataflow",
                    "signs": signs,
                    "dims": len(box.start),
                    "strategy": name,
                    "population": POPULATION,
                    "quarter": gaps[:, GENERATIONS // 4 - 1].tolist(),
                    "all": gaps[:, -1].tolist(),
                }
            )
            print(f"dataflow {signs} {name}: {time.perf_counter() - start:.1f} s", flush=True)


def run_overhead(names: Sequence[str], repeats: int, tell: Callable[[dict], None]) -> None:
    """Seconds of an ask and a tell at 4,288 genes and a population of 128."""
    box = landscapes.dataflow_box(DATAFLOW_SIGNS[0])
    gap = landscapes.make_dataflow_gap(box)
    instance = landscapes.make_dataflow_instance(box, DATAFLOW_SIGNS[0], 0)
    for name in names:
        strategy = build(name, box, population_size=POPULATION)
        state = strategy.init(jax.random.key(0))
        times = []
        for generation in range(repeats + 2):
            keys = jax.random.split(jax.random.key(generation))
            start = time.perf_counter()
            population, state = jax.block_until_ready(strategy.ask(keys[0], state))
            asked = time.perf_counter() - start
            fitness = jax.block_until_ready(-gap(population, instance))
            if strategy.hears == "objectives":
                fitness = jnp.stack([fitness, -jnp.abs(population).sum(axis=1)], axis=1)
            start = time.perf_counter()
            state = jax.block_until_ready(strategy.tell(keys[1], population, fitness, state))
            times.append(asked + time.perf_counter() - start)
        row = {"part": "overhead", "strategy": name, "seconds": times[2:]}
        tell(row)
        print(f"overhead {name}: {1e3 * np.median(times[2:]):.1f} ms", flush=True)


def bbob_table(rows: list[dict], dims: int, noise: float, target: int) -> Table:
    """Median evaluations (expected ones where runs failed), the geometric mean of the expected ones
    against the best strategy of each function, and their ratio to the first strategy's.
    """
    chosen = [r for r in rows if r["part"] == "bbob" and (r["dims"], r["noise"]) == (dims, noise)]
    functions = list(dict.fromkeys(r["function"] for r in chosen))
    found: dict[str, Runs] = {}
    for name in dict.fromkeys(r["strategy"] for r in chosen):
        own = {r["function"]: r for r in chosen if r["strategy"] == name}
        at = np.array([np.array(own[f]["evaluations"])[:, target] for f in functions])
        budget = BUDGETS[dims]
        found[name] = Runs(np.where(at > 0, at, budget).astype(float), at > 0, budget)
    least = np.min([runs.expected() for runs in found.values()], axis=0)
    relative = {n: np.exp(np.log(runs.expected() / least).mean()) for n, runs in found.items()}
    order = sorted(found, key=lambda name: relative[name])
    title = f"{dims} genes, noise {noise}, {TARGETS[target]} of the gap left"
    heads = ("solved", "× best", f"× {order[0]} (95 % interval)")
    table = Table("strategy", *functions, *heads, title=title)
    for name in order:
        runs = found[name]
        cells = []
        for cost, reached, expected in zip(*runs[:2], runs.expected(), strict=True):
            cells.append(f"{np.median(cost):.0f}" if reached.all() else f"[{expected:.0f}]")
            if not reached.any():
                cells[-1] = "–"
        against = "1" if name == order[0] else str(ratio(runs, found[order[0]]))
        table.add_row(name, *cells, f"{runs.reached.mean():.0%}", f"{relative[name]:.2f}", against)
    return table


def dataflow_table(rows: list[dict]) -> Table:
    """Medians of the share of the gap that remains."""
    table = Table("signs of 4,288", "strategy", "3,200 evaluations", "12,800 evaluations")
    chosen = [r for r in rows if r["part"] == "dataflow"]
    for row in sorted(chosen, key=lambda r: (r["signs"], np.median(r["all"]))):
        cells = (f"{np.median(row[part]):.3f}" for part in ("quarter", "all"))
        table.add_row(str(row["signs"]), row["strategy"], *cells)
    return table


def overhead_table(rows: list[dict]) -> Table:
    """Milliseconds of a generation, and their share of one of the quickstart."""
    table = Table("strategy", "ask + tell, ms", "share of a generation")
    for row in (r for r in rows if r["part"] == "overhead"):
        seconds = float(np.median(row["seconds"]))
        share = seconds / QUICKSTART_GENERATION
        table.add_row(row["strategy"], f"{1e3 * seconds:.1f}", f"{share:.2%}")
    return table


def print_tables(rows: list[dict]) -> None:
    """Every table that the rows make, but those of targets that no search reached."""
    console = Console(width=160)
    bbob = [row for row in rows if row["part"] == "bbob"]
    for dims, noises in NOISES.items():
        for noise in noises:
            own = [r["evaluations"] for r in bbob if (r["dims"], r["noise"]) == (dims, noise)]
            for target in range(len(TARGETS)):
                if any(reached[target] for runs in own for reached in runs):
                    console.print(bbob_table(rows, dims, noise, target))
    console.print(dataflow_table(rows))
    console.print(overhead_table(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("bbob", "dataflow", "overhead")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--dims", type=int, nargs="+", choices=BUDGETS, default=list(BUDGETS))
    every = [*STRATEGIES, *OVERHEAD_ALONE, *CHOOSING]
    parser.add_argument("--strategies", nargs="+", choices=every, default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("experiments/search/bbob.json"))
    options = parser.parse_args()
    before = json.loads(options.out.read_text()) if options.out.is_file() else []
    rows = [row for row in before if not again(row, options)]

    def tell(row: dict) -> None:
        rows.append(row)
        lines = ",\n".join(json.dumps(row) for row in rows)
        options.out.write_text(f"[\n{lines}\n]\n")

    if "overhead" in options.parts:
        run_overhead(options.strategies, options.seeds, tell)
    if "dataflow" in options.parts:
        run_dataflow(options.strategies, options.seeds, tell)
    if "bbob" in options.parts:
        run_bbob(options.strategies, options.dims, options.seeds, tell)
    print_tables(rows)


def again(row: dict, options: argparse.Namespace) -> bool:
    """Whether a row of the file is measured again."""
    asked = row["part"] in options.parts and row["strategy"] in options.strategies
    return asked and (row["part"] != "bbob" or row["dims"] in options.dims)


if __name__ == "__main__":
    main()
