"""What different searches find in the digits experiment with the same budget, over seeds.

    python -m experiments.digits.compare [--contestants default random ...] [--seeds 0 1 2 3 4]
        [--sources DIR] [--evaluations 500]

Each search is that of `+experiment=digits` and chooses among its best eight candidates and its mean
on the validation items, as a run does. The table has the test items, which choose nothing. A grid
draws nothing by chance and is searched once.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from evojax_merge.config import build, compose
from evojax_merge.runs.pairing import pair
from evojax_merge.runs.preparation import set_up
from evojax_merge.search.loop import init_state, step
from experiments.digits.make_sources import SKILLS

WHOLE = "space.groups=null"
CONTESTANTS = {
    "default": ["strategy=auto"],
    "cma_es": ["strategy=cma_es"],
    "mergekit_evolve": ["strategy=cma_es", f"space.coefficients.weight.start={1 / len(SKILLS)}"],
    "random": ["strategy=random"],
    "whole_default": ["strategy=auto", WHOLE],
    "whole_grid": ["strategy=grid", WHOLE],
}
"""`mergekit_evolve` has the start of mergekit's searches, 1/n; sigma is 1/6 in both."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contestants", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--sources", type=Path, help="where make_sources wrote, if not bundled")
    parser.add_argument("--evaluations", type=int, default=500)
    options = parser.parse_args()
    shared = ["+experiment=digits", f"search.evaluations={options.evaluations}"]
    if options.sources is not None:
        folder = (options.sources / "habits").resolve()
        names = ",".join(f"'{folder / name}'" for name in SKILLS)
        shared += [f"model.base='{folder / 'base'}'", f"model.sources=[{names}]"]
    found = {}
    for name in options.contestants:
        seeds = options.seeds[:1] if name == "whole_grid" else options.seeds
        found[name] = list(searched([*shared, *CONTESTANTS[name]], seeds))
    Console(width=100).print(table(found))


def searched(overrides: list[str], seeds: Iterable[int]) -> Iterable[float]:
    """The accuracy on the test items, in per cent, of what each seed's search finds."""
    problem = None
    for seed in seeds:
        experiment = build(compose([*overrides, f"seed={seed}"]))
        setup = set_up(experiment)
        (stage,) = setup.stages
        if problem is None:  # the merge has no random masks: it is the same for all seeds
            setup.load(Path("runs"), lambda line: None)
            problem = stage.problem({})
        strategy, score, _ = pair(problem, stage.strategy, stage.savers)
        state = init_state(strategy, jax.random.key(seed), experiment.budget.finalists)
        for _ in range(-(-stage.evaluations // strategy.population_size)):
            state, _, _ = step(state, strategy, score)
        finalists = np.asarray(state.archive.genotypes)
        finalists = finalists[np.isfinite(np.asarray(state.archive.fitness))]
        recommended = strategy.recommend(state.strategy)
        if recommended is not None:
            finalists = np.concatenate([finalists, np.asarray(recommended)[None]])
        chosen = problem.evaluator(finalists, "validation").fitness.argmax()
        yield 100 * float(problem.evaluator(finalists[chosen][None], "test").fitness[0])


def table(found: dict[str, list[float]]) -> Table:
    """The scores of each contestant, and their mean with its 95 % t interval."""
    table = Table("contestant", "test accuracy of each seed, %", "mean", "95 % interval")
    for name, scores in found.items():
        ends = "–"
        if len(scores) > 1:
            reach = stats.t.ppf(0.975, len(scores) - 1) * stdev(scores) / len(scores) ** 0.5
            ends = f"{mean(scores) - reach:.1f} – {mean(scores) + reach:.1f}"
        table.add_row(name, ", ".join(f"{s:.1f}" for s in scores), f"{mean(scores):.1f}", ends)
    return table


if __name__ == "__main__":
    main()
