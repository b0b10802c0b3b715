"""How well a recorded benchmark stands for its experiment.

    python -m experiments.search.recorded.validate digits_8 clip_48 [--searches] [--seeds 8] \
        [--budgets 50 100 300]

First the model's predictions of candidates that it was not fitted to: the accuracy of each, the
calibration of single items, and how many items two candidates answer differently. Then, with
``--searches``, whole searches on the real models against the same searches on the benchmark: the
same strategies, keys and search items. Real searches are kept and not run again.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from evojax_merge.params.types import Float
from evojax_merge.strategies import Setting
from experiments.search.recorded.benchmarks import BENCHMARKS
from experiments.search.recorded.compare import at_budgets, prepared
from experiments.search.recorded.item_model import ItemModel, held_out, probabilities
from experiments.search.recorded.real import Real
from experiments.search.recorded.records import Record
from experiments.search.recorded.searches import Populations
from experiments.search.recorded.simulated import Differing, Simulated, choose_items, differing

NAMES = ("random", "cma_es", "cr_fm_nes", "differential_evolution", "cr_fm_nes + minibatch")
ITEMS = 128
BUDGETS = (50, 100, 300)
SIMULATED = 100
"""Seeds on the benchmark; the first of them are those of the real searches."""
EDGES = np.array([0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1])


class RealSearches:
    """The landscape of several seeds on the real models (see `searches.Landscape`).

    Args:
        real: What measures.
        items: How many of the search items each seed has.
        seeds: The seeds.

    Attributes:
        setting: The bounds and the start of the experiment.
    """

    def __init__(self, real: Real, items: int, seeds: Sequence[int]) -> None:
        space = real.space
        self.setting = Setting(space.lower, space.upper, space.start, items=items)
        self._real, self._rows = real, choose_items(real.searched, items, seeds)

    def results(self, populations: Populations) -> Float[np.ndarray, "seeds pop items"]:
        """Whether each candidate solves each item of its seed."""
        if self._real.tasks > 1:  # as many of each task: other numbers would compile anew
            flat = populations.reshape(-1, populations.shape[2])
            all_ = self._real(flat, np.arange(self._real.searched))
            rows = zip(all_.reshape(*populations.shape[:2], -1), self._rows, strict=True)
            return np.stack([found[:, own] for found, own in rows])
        rows = zip(populations, self._rows, strict=True)
        return np.stack([self._real(population, own) for population, own in rows])

    def scores(self, genotypes: Float[np.ndarray, "seeds dims"]) -> Float[np.ndarray, " seeds"]:
        """The accuracy on the held-out items."""
        return self._real(genotypes, np.arange(self._real.searched, self._real.items)).mean(axis=1)


class Kind(NamedTuple):
    """How well the accuracies of some held-out candidates are predicted."""

    candidates: int
    r2: float
    spearman: float
    error: float
    bias: float


def kind(record: Record, likely: np.ndarray, rows: np.ndarray, part: slice) -> Kind:
    """Compare predictions and results of some candidates on the items that each was measured on."""
    met = record.measured[record.shard[rows], part]
    predicted = (likely[rows][:, part] * met).sum(1) / met.sum(1)
    found = record.means(part)[rows]
    away = predicted - found
    return Kind(
        len(rows),
        1 - float(np.square(away).mean() / found.var()),
        float(stats.spearmanr(predicted, found).statistic),
        float(np.sqrt(np.square(away).mean())),
        float(away.mean()),
    )


def predictions(name: str, record: Record, likely: np.ndarray) -> Table:
    """A row for each design, of search items and held-out ones."""
    shown = Table(
        *("design", "candidates", "search: R²", "Spearman", "error, points"),
        *("held-out: R²", "Spearman", "error, points", "bias, points"),
        title=f"{name}: mean accuracy of candidates that the model was not fitted to",
    )
    out = held_out(record)
    groups = {"all": out} | {
        design: out & (record.design == place) for place, design in enumerate(record.names)
    }
    for design, chosen in groups.items():
        parts = (slice(0, record.searched), slice(record.searched, None))
        searched, other = (kind(record, likely, np.flatnonzero(chosen), part) for part in parts)
        shown.add_row(
            *(design, f"{searched.candidates:,}"),
            *(f"{searched.r2:.3f}", f"{searched.spearman:.3f}", f"{100 * searched.error:.1f}"),
            *(f"{other.r2:.3f}", f"{other.spearman:.3f}", f"{100 * other.error:.1f}"),
            f"{100 * other.bias:+.1f}",
        )
    return shown


def calibration(name: str, record: Record, likely: np.ndarray) -> Table:
    """How often items are solved that are solved with some probability."""
    out = held_out(record)
    met = record.measured[record.shard[out]]
    said, did = likely[out][met], record.results[out][met]
    shown = Table("probability", "results", "mean, %", "solved, %", title=f"{name}: calibration")
    for low, high in itertools.pairwise(EDGES):
        inside = (said >= low) & ((said < high) | (high == EDGES[-1]))
        shown.add_row(
            f"{low:g} – {high:g}",
            f"{inside.mean():.1%}",
            f"{100 * said[inside].mean():.1f}",
            f"{100 * did[inside].mean():.1f}",
        )
    return shown


def pairs(name: str, found: Differing) -> Table:
    """How many items two candidates of one shard answer differently, by their distance."""
    shown = Table(
        *("distance", "items that differ, recorded, %", "benchmark, %"),
        *("drawn anew, %", "one threshold an item, %"),
        title=f"{name}: pairs of held-out candidates; length scale {found.scale:g}",
    )
    edges = np.quantile(found.distance, np.linspace(0, 1, 6))
    for low, high in itertools.pairwise(edges):
        inside = (found.distance >= low) & (found.distance <= high)
        values = (found.recorded, found.best, found.simulated[0], found.simulated[-1])
        shown.add_row(
            f"{low:.3f} – {high:.3f}", *(f"{100 * each[inside].mean():.1f}" for each in values)
        )
    return shown


def real_searches(
    name: str, names: Sequence[str], seeds: int, budgets: Sequence[int], folder: Path
) -> dict[str, np.ndarray]:
    """The scores ``[seeds, budgets]`` of each contestant on the real models."""
    told = "_".join(map(str, budgets))
    real: Real | None = None
    found = {}
    for one in names:
        path = folder / f"real_{name}_{ITEMS}_{one.replace(' ', '_')}_{seeds}_{told}.json"
        if not path.exists():
            real = real or Real(BENCHMARKS[name].overrides)
            landscape = RealSearches(real, ITEMS, range(seeds))
            scores = at_budgets(landscape, one, range(seeds), budgets)
            path.write_text(json.dumps(scores.tolist()) + "\n")
            print(name, one, scores.mean(0).round(4), flush=True)
        found[one] = np.array(json.loads(path.read_text()))
    return found


def against(
    name: str,
    budgets: Sequence[int],
    real: dict[str, np.ndarray],
    simulated: dict[str, np.ndarray],
) -> Table:
    """Both for each contestant, and whether the order is the same."""
    seeds = len(next(iter(real.values())))
    shown = Table(
        "contestant",
        *(f"{each} evaluations: real, benchmark" for each in budgets),
        "real runs in the benchmark's 95 %",
        title=f"{name}: held-out accuracy, mean (deviation of a run); {seeds} real runs",
    )
    for one, found in real.items():
        own = simulated[one]
        low, high = np.quantile(own, [0.025, 0.975], axis=0)
        inside = ((found >= low) & (found <= high)).sum()
        cells = [
            f"{100 * found[:, place].mean():.1f} ({100 * found[:, place].std():.1f}), "
            f"{100 * own[:, place].mean():.1f} ({100 * own[:, place].std():.1f})"
            for place in range(len(budgets))
        ]
        shown.add_row(one, *cells, f"{inside} of {found.size}")
    orders = [
        stats.kendalltau(
            [found[:, place].mean() for found in real.values()],
            [own[:, place].mean() for own in simulated.values()],
        ).statistic
        for place in range(len(budgets))
    ]
    shown.add_row("Kendall's τ of the order", *(f"{each:.2f}" for each in orders), "")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmarks", nargs="+", choices=BENCHMARKS)
    parser.add_argument("--searches", action="store_true", help="whole searches on the real models")
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--seeds", type=int, default=8, help="of the real searches")
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS, help="in evaluations")
    parser.add_argument("--out", type=Path, default=Path("runs/search/recorded/compared"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=170)
    for name in options.benchmarks:
        record, model, scale = prepared(name, options.out)
        likely = predicted(model, record)
        console.print(predictions(name, record, likely))
        console.print(calibration(name, record, likely))
        console.print(pairs(name, differing(model, record)))
        if options.searches:
            found = real_searches(name, options.names, options.seeds, options.budgets, options.out)
            own = Simulated(model, record, scale, ITEMS, range(SIMULATED))
            simulated = {
                one: at_budgets(own, one, range(SIMULATED), options.budgets)
                for one in options.names
            }
            console.print(against(name, options.budgets, found, simulated))


def predicted(model: ItemModel, record: Record) -> Float[np.ndarray, "pop items"]:
    """The probabilities of all recorded candidates."""
    return np.asarray(jax.jit(probabilities)(model, jnp.asarray(record.genotypes, jnp.float32)))


if __name__ == "__main__":
    main()
