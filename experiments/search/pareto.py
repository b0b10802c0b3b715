"""NSGA-II and NSGA-III against pymoo's on ZDT and DTLZ, at equal evaluations and populations.

python -m experiments.search.pareto [--seeds 11] [--out experiments/search/pareto.json]

Hypervolume (moocore) of the final population's front, median over seeds; about 12 minutes.
What is in the file is not run again.
"""

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import moocore
import numpy as np
from pymoo.algorithms.moo import nsga2 as pymoo_nsga2
from pymoo.algorithms.moo import nsga3 as pymoo_nsga3
from pymoo.optimize import minimize
from pymoo.problems import get_problem
from pymoo.util.ref_dirs import get_reference_directions
from rich.console import Console
from rich.table import Table

from evojax_merge.params.types import Array, Float, Population
from evojax_merge.strategies import NSGA2, NSGA3, MultiObjectiveStrategy, Setting

Costs = Float[Array, "pop objectives"]
HALF_PI = np.pi / 2


def zdt(number: int, x: Population) -> Costs:
    """Zitzler, Deb & Thiele, Comparison of Multiobjective Evolutionary Algorithms, 2000."""
    first, rest = x[:, 0], x[:, 1:]
    f1, g = first, 1 + 9 * rest.mean(axis=1)
    if number == 4:
        g = 1 + 10 * rest.shape[1] + (rest**2 - 10 * jnp.cos(4 * jnp.pi * rest)).sum(axis=1)
    elif number == 6:
        f1 = 1 - jnp.exp(-4 * first) * jnp.sin(6 * jnp.pi * first) ** 6
        g = 1 + 9 * rest.mean(axis=1) ** 0.25
    ratio = f1 / g
    height = {2: 1 - ratio**2, 6: 1 - ratio**2}.get(number, 1 - jnp.sqrt(ratio))
    if number == 3:
        height = height - ratio * jnp.sin(10 * jnp.pi * f1)
    return jnp.stack([f1, g * height], axis=1)


def dtlz(number: int, x: Population) -> Costs:
    """Deb et al., Scalable Test Problems, 2005; three objectives."""
    place, rest = x[:, :2], x[:, 2:] - 0.5
    g = (rest**2).sum(axis=1)
    if number in (1, 3):
        g = 100 * (rest.shape[1] + (rest**2 - jnp.cos(20 * jnp.pi * rest)).sum(axis=1))
    if number == 1:
        a, b = place.T
        return 0.5 * (1 + g)[:, None] * jnp.stack([a * b, a * (1 - b), 1 - a], axis=1)
    place = place**100 if number == 4 else place
    a, b = jnp.sin(HALF_PI * place).T
    # In float32 cos(π/2) is below 0, and a worse g would lower a cost.
    cos_a, cos_b = jnp.sin(HALF_PI * (1 - place)).T
    sphere = [cos_a * cos_b, cos_a * b, a]
    return (1 + g)[:, None] * jnp.stack(sphere, axis=1)


class Case(NamedTuple):
    """A problem, the generations it gets and where its hypervolume starts."""

    cost: Callable[[Population], Costs]
    problem: Any
    generations: int
    reference: tuple[float, ...]


def make_cases() -> dict[str, Case]:
    """ZDT1-4, 6 with two objectives and DTLZ1-4 with three."""
    cases = {
        f"zdt{n}": Case(functools.partial(zdt, n), get_problem(f"zdt{n}"), 250, (1.1, 1.1))
        for n in (1, 2, 3, 4, 6)
    }
    # DTLZ1 and DTLZ3 get fewer generations than in the papers, and more room for it.
    for n, generations, side in ((1, 250, 1.0), (2, 150, 1.1), (3, 400, 2.0), (4, 250, 1.1)):
        problem = get_problem(f"dtlz{n}", n_var=7 if n == 1 else 12, n_obj=3)
        cases[f"dtlz{n}"] = Case(functools.partial(dtlz, n), problem, generations, (side,) * 3)
    return cases


def sizes(case: Case) -> tuple[int, int]:
    """Population and partitions: as many directions as members, or nearly."""
    return (100, 99) if len(case.reference) == 2 else (92, 12)


def ours(name: str, case: Case, seeds: int) -> list[float]:
    """Hypervolume of each seed; all of them in one program."""
    population, partitions = sizes(case)
    kind: Any = NSGA2 if name == "nsga2" else functools.partial(NSGA3, partitions=partitions)
    lower, upper = (np.asarray(bound, np.float32) for bound in (case.problem.xl, case.problem.xu))
    # The middle of the box is optimal for DTLZ: start elsewhere, as from any member of the first
    # generation.
    start = np.random.default_rng(0).uniform(lower, upper)
    strategy = MultiObjectiveStrategy(
        Setting(lower, upper, start, objectives=[f"f{n}" for n in range(len(case.reference))]),
        kind,
        population_size=population,
    )

    def run(key: Array) -> Any:
        key_init, key = jax.random.split(key)

        def generation(state: Any, key: Array) -> tuple[Any, None]:
            key_ask, key_tell = jax.random.split(key)
            asked, state = strategy.ask(key_ask, state)
            return strategy.tell(key_tell, asked, -case.cost(asked), state), None

        keys = jax.random.split(key, case.generations)
        return jax.lax.scan(generation, strategy.init(key_init), keys)[0]

    states = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), seeds))
    fronts = [strategy.front(jax.tree.map(lambda x, s=seed: x[s], states)) for seed in range(seeds)]
    # The genotypes scored again in float64, as pymoo's are.
    return [volume(case, case.problem.evaluate(front.astype(np.float64))) for front, _ in fronts]


def pymoos(name: str, case: Case, seeds: int) -> list[float]:
    """Hypervolume of each seed, with pymoo's defaults."""
    population, partitions = sizes(case)
    volumes = []
    for seed in range(seeds):
        if name == "nsga2":
            algorithm: Any = pymoo_nsga2.NSGA2(pop_size=population)
        else:
            directions = get_reference_directions(
                "das-dennis", len(case.reference), n_partitions=partitions
            )
            algorithm = pymoo_nsga3.NSGA3(directions, pop_size=population)
        found = minimize(case.problem, algorithm, ("n_gen", case.generations), seed=seed)
        volumes.append(volume(case, found.F))
    return volumes


def volume(case: Case, costs: np.ndarray) -> float:
    """Of a front, as a share of the box between the origin and the reference point."""
    return float(moocore.hypervolume(costs, ref=case.reference) / np.prod(case.reference))


def compare(name: str, problem: str, seeds: int) -> dict[str, Any]:
    """One row of the table."""
    case = make_cases()[problem]
    mine, theirs = ours(name, case, seeds), pymoos(name, case, seeds)
    return {
        "algorithm": name,
        "problem": problem,
        "evaluations": case.generations * sizes(case)[0],
        "ours": mine,
        "pymoo": theirs,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """Medians and quartiles."""
    shown = Table("algorithm", "problem", "evaluations", "ours", "pymoo", "ratio of medians")
    for row in rows:
        cells = [
            "{1:.4f} ({0:.4f} – {2:.4f})".format(*np.quantile(row[side], (0.25, 0.5, 0.75)))
            for side in ("ours", "pymoo")
        ]
        peer = np.median(row["pymoo"])
        ratio = f"{np.median(row['ours']) / peer:.4f}" if peer else "–"
        shown.add_row(row["algorithm"], row["problem"], str(row["evaluations"]), *cells, ratio)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("experiments/search/pareto.json"))
    options = parser.parse_args()
    rows = json.loads(options.out.read_text()) if options.out.is_file() else []
    done = {(row["algorithm"], row["problem"]) for row in rows}
    for name in ("nsga2", "nsga3"):
        for problem in (problem for problem in make_cases() if (name, problem) not in done):
            rows.append(compare(name, problem, options.seeds))
            options.out.write_text(json.dumps(rows, indent=1) + "\n")
            print(name, problem, *(np.median(rows[-1][side]) for side in ("ours", "pymoo")))
    Console(width=120).print(table(rows))


if __name__ == "__main__":
    main()
