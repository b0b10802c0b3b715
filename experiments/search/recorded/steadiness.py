"""How steady the compared searches are: their worst tenth, and the share of them that failed.

    python -m experiments.search.recorded.steadiness [digits_30 clip_48 ...] [--than cr_fm_nes]

It reads what `compare` saved. A search has failed where its score is nearer to the mean of random
search than to the mean of the best contestant. Differences are of the same seeds.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from evojax_merge.params.types import Float
from experiments.search.recorded.compare import BUDGETS, LEVEL, Cell, saved

TENTH = 0.1


def failed(
    scores: Float[np.ndarray, " seeds"], random: float, best: float
) -> Float[np.ndarray, ""]:
    """The share of searches that are nearer to random search than to the best.

    Args:
        scores: Of a contestant's searches.
        random: The mean of random search.
        best: The mean of the best contestant.
    """
    return (scores < (random + best) / 2).mean()


def table(found: Sequence[Cell], than: str, place: int) -> Table:
    """A row for each contestant, with the best mean first.

    Args:
        found: The contestants on a benchmark with so many items; random search is one.
        than: The contestant that the others are compared with.
        place: Which of `BUDGETS`.
    """
    scores = {cell.name: 100 * np.array(cell.scores)[:, place] for cell in found}
    first, names = found[0], sorted(scores, key=lambda name: -scores[name].mean())
    random, best = scores["random"].mean(), scores[names[0]].mean()
    shown = Table(
        *("contestant", "mean", "a tenth is below", "failed, %", f"than {than}"),
        title=f"{first.benchmark}: {first.genes} genes, {first.items} items, "
        f"{BUDGETS[place]:,} evaluations, {len(first.scores)} seeds",
    )
    for name in names:
        own = scores[name]
        away = own - scores[than]
        error = LEVEL * away.std(ddof=1) / np.sqrt(len(away))
        shown.add_row(
            *(name, f"{own.mean():.1f}", f"{np.quantile(own, TENTH):.1f}"),
            f"{100 * failed(own, random, best):.0f}",
            "" if name == than else f"{away.mean():+.1f} ± {error:.1f}",
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmarks", nargs="*", help="compared ones; all")
    parser.add_argument("--than", default="cr_fm_nes", help="what the others are compared with")
    options = parser.parse_args()
    cells = saved()
    console = Console(width=120)
    for benchmark, items, seeds in dict.fromkeys(
        (cell.benchmark, cell.items, len(cell.scores)) for cell in cells
    ):
        if benchmark in (options.benchmarks or [benchmark]):
            found = [
                cell
                for cell in cells
                if (cell.benchmark, cell.items, len(cell.scores)) == (benchmark, items, seeds)
            ]
            for place in range(len(BUDGETS)):
                console.print(table(found, options.than, place))


if __name__ == "__main__":
    main()
