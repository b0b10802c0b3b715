"""Compare strategies and savers on recorded benchmarks, by hundreds of seeds, in minutes.

    python -m experiments.search.recorded.compare [digits_8 clip_48 ...] [--seeds 100]

A budget is counted in evaluations of a candidate on all of its search's items, so that what a saver
saves is spent on more candidates. Each seed has search items of its own, drawn from the recorded
ones. The score is the expected accuracy on the held-out items of what the strategy recommends. What
is finished is not run again.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from evojax_merge.params.types import Float
from experiments.search.recorded import item_model, records
from experiments.search.recorded.benchmarks import BENCHMARKS
from experiments.search.recorded.contestants import NAMES, overrides
from experiments.search.recorded.item_model import ItemModel
from experiments.search.recorded.records import Record
from experiments.search.recorded.searches import Landscape, Searcher, contestant, search
from experiments.search.recorded.simulated import Simulated, differing

COMPARED = records.FOLDER.parent / "compared.json"
ITEMS = (32, 128, 512)
BUDGETS = (100, 300, 1_000)
SEEDS = 100
TOGETHER = 100
"""Seeds that are searched at a time."""
LEVEL = 1.96
STALLED = 20
"""Generations without a measurement after which a search has ended."""


class Cell(NamedTuple):
    """What a contestant came to.

    Attributes:
        benchmark: The recorded experiment.
        genes: Their number.
        items: The number of search items.
        name: The contestant.
        scores: The held-out accuracy of each seed at each of `BUDGETS`.
        seconds: Of the processor, for all seeds.
    """

    benchmark: str
    genes: int
    items: int
    name: str
    scores: list[list[float]]
    seconds: float

    def mean(self, budget: int) -> float:
        """The mean over the seeds."""
        return float(np.mean(self.scores, axis=0)[budget])

    def error(self, budget: int) -> float:
        """Half of the 95 % interval of the mean."""
        values = np.array(self.scores)[:, budget]
        return float(LEVEL * values.std(ddof=1) / np.sqrt(len(values)))

    def ahead(self, other: "Cell", budget: int) -> bool:
        """Whether it is better than another one, by a paired comparison of the seeds."""
        away = np.array(self.scores)[:, budget] - np.array(other.scores)[:, budget]
        return bool(away.mean() > LEVEL * away.std(ddof=1) / np.sqrt(len(away)))


def at_budgets(
    landscape: Landscape,
    name: str,
    seeds: Sequence[int],
    budgets: Sequence[int] = BUDGETS,
    known: dict[str, Searcher] | None = None,
) -> Float[np.ndarray, "seeds budgets"]:
    """The held-out score of every seed after the last generation within each budget.

    Args:
        landscape: What is searched.
        name: The contestant.
        seeds: The seeds of the searches.
        budgets: Evaluations of a candidate on all items, in ascending order.
        known: The searchers that were made for the same bounds.
    """
    items = landscape.setting.items or 0
    limits = np.array(budgets) * items
    start = np.asarray(landscape.setting.start, np.float32)
    kept = np.tile(start, (len(limits), len(seeds), 1))
    before, idle = np.zeros(len(seeds), np.int64), 0
    one = contestant(overrides(name, items), landscape.setting, known)
    for standing in search(one, landscape, seeds):
        for place, limit in enumerate(limits):
            within = standing.items <= limit
            kept[place, within] = standing.genotypes[within]
        idle = 0 if (standing.items > before).any() else idle + 1
        before = standing.items
        if (standing.items >= limits[-1]).all() or idle == STALLED:
            break
    return np.stack([landscape.scores(genotypes) for genotypes in kept], axis=1)


def prepared(benchmark: str, folder: Path) -> tuple[Record, ItemModel, float]:
    """A record, its model, fitted once, and the length scale of its noise."""
    record, path = records.load(benchmark), folder / f"{benchmark}_model.npz"
    if not path.exists():
        item_model.save(item_model.fit(record), path)
    model = item_model.load(path)
    return record, model, differing(model, record).scale


def cells(
    benchmark: str, names: Sequence[str], sizes: Sequence[int], seeds: int, folder: Path
) -> list[Cell]:
    """The contestants on a benchmark, those that are not kept already run first."""
    found: list[Cell] = []
    ready: Any = None
    known: dict[str, Searcher] = {}
    for items in sizes:
        for name in names:
            path = folder / f"{benchmark}_{items}_{name.replace(' ', '_')}_{seeds}.json"
            if not path.exists():
                ready = ready or prepared(benchmark, folder)
                record, model, scale = ready
                began, scores = time.process_time(), []
                for first in range(0, seeds, TOGETHER):
                    some = range(first, min(first + TOGETHER, seeds))
                    size = min(items, record.searched)
                    landscape = Simulated(model, record, scale, size, some)
                    found_scores = at_budgets(landscape, name, some, known=known)
                    scores += found_scores.round(5).tolist()
                seconds = round(time.process_time() - began, 1)
                cell = Cell(benchmark, len(record.lower), size, name, scores, seconds)
                path.write_text(json.dumps(cell) + "\n")
                print(*cell[:4], f"{cell.mean(-1):.4f}", f"{seconds} s", flush=True)
            found.append(Cell(*json.loads(path.read_text())))
    return found


def table(found: Sequence[Cell]) -> Table:
    """A row for each contestant, a column for each number of items and budget.

    A star stands with the best and with what is not shown to be worse than it.
    """
    first, sizes = found[0], sorted({cell.items for cell in found})
    shown = Table(
        "contestant", title=f"{first.benchmark}: {first.genes} genes, held-out accuracy in %"
    )
    columns = [(items, place) for items in sizes for place in range(len(BUDGETS))]
    for items, place in columns:
        shown.add_column(f"{items} items, {BUDGETS[place]:,}", justify="right")
    for name in dict.fromkeys(cell.name for cell in found):
        row = [name]
        for items, place in columns:
            rivals = [cell for cell in found if cell.items == items]
            best = max(rivals, key=lambda cell: cell.mean(place))
            own = next((cell for cell in rivals if cell.name == name), None)
            if own is None:
                row.append("–")
                continue
            star = "" if own is not best and best.ahead(own, place) else " *"
            row.append(f"{100 * own.mean(place):.1f} ± {100 * own.error(place):.1f}{star}")
        shown.add_row(*row)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmarks", nargs="*", help="recorded ones; all")
    parser.add_argument(
        "--names", nargs="+", default=list(NAMES), help="STRATEGY or STRATEGY + SAVER"
    )
    parser.add_argument("--items", type=int, nargs="+", default=ITEMS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=Path("runs/search/recorded/compared"))
    options = parser.parse_args()
    there = [name for name in BENCHMARKS if (records.FOLDER / f"{name}.npz").exists()]
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=200)
    for benchmark in options.benchmarks or there:
        found = cells(benchmark, options.names, options.items, options.seeds, options.out)
        console.print(table(found))
    save_all(options.out)


def save_all(folder: Path, file: Path = COMPARED) -> None:
    """Put all cells of a folder into one file, a line each, beside those that it has."""
    paths = [path for name in BENCHMARKS for path in folder.glob(f"{name}_*_*.json")]
    cells = [*saved(file), *(Cell(*json.loads(path.read_text())) for path in paths)]
    unique = {(*cell[:4], len(cell.scores)): cell for cell in cells}
    order = sorted(unique, key=lambda key: (list(BENCHMARKS).index(key[0]), *key[2:]))
    lines = [json.dumps(unique[key]._asdict()) for key in order]
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def saved(file: Path = COMPARED) -> list[Cell]:
    """The cells of what `save_all` wrote; none where there is no file."""
    return [Cell(**each) for each in json.loads(file.read_text())] if file.exists() else []


if __name__ == "__main__":
    main()
