"""Score the sources in every setting, merges at given weights, and a grid of weights.

    python -m experiments.images.grid [--sources DIR] [--weights 0 0.5 1 1.5]

The best weights for the whole UNet are chosen on search items, and measured on test items. It needs
nothing of the search.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evojax_merge.checkpoints import Model, load, load_parts
from evojax_merge.fitness import TextToImageTask
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Float, Genotype, Params
from evojax_merge.report.intervals import interval
from experiments.images import data
from experiments.images.words import LANGUAGES, Language, Split

SOURCES = Path(__file__).parent / "sources"
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


class Setting(NamedTuple):
    """How pictures are asked for, and in how many steps they are drawn."""

    language: Language
    steps: int
    guidance: float

    def __str__(self) -> str:
        return f"{self.language}, {self.steps} steps, guidance {self.guidance}"


MANY, FEW = (8, 2.5), (4, 0.0)
SETTINGS = [Setting(language, *how) for language in LANGUAGES for how in (MANY, FEW)]
ASKED = Setting("ja", *FEW)
"""The setting of the experiment."""

NAMED = {
    "base": (0.0, 0.0, 0.0, 0.0),
    "japanese": (1.0, 0.0, 1.0, 0.0),
    "fast": (0.0, 1.0, 0.0, 1.0),
    "average of all three": (1 / 3,) * 4,
    "both task vectors whole": (1.0,) * 4,
    "attention of japanese, rest of fast": (1.0, 0.0, 0.0, 1.0),
    "attention of fast, rest of japanese": (0.0, 1.0, 1.0, 0.0),
}
"""The weights of japanese and fast in attention, and in the rest."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, default=SOURCES)
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    given = parser.parse_args()
    base = load_parts(given.sources / "base", np.float32)
    others = [load(given.sources / name, np.float32) for name in ("japanese", "fast")]
    for setting in SETTINGS:
        score = Scorer(base, others, given.sources / "judge", setting, "test")
        for name in NAMED if setting == ASKED else ("base", "japanese", "fast"):
            print(f"{setting}: {name:36} {told(score(NAMED[name]))}", flush=True)
    score = Scorer(base, others, given.sources / "judge", ASKED, "search")
    print("on search items, japanese down, fast across", *given.weights)
    found: dict[tuple[float, ...], float] = {}
    for one in given.weights:
        found |= {(one, two): 100 * score((one, two) * 2).mean() for two in given.weights}
        print(f"{one:5}", *(f"{found[one, two]:5.1f}" for two in given.weights), flush=True)
    best = max(found, key=lambda pair: found[pair])
    score = Scorer(base, others, given.sources / "judge", ASKED, "test")
    print("best for the whole UNet", best, told(score(best * 2)))


class Scorer:
    """What the items of a split score in a setting, for weights of the task vectors.

    Args:
        base: The UNet of the base, with its pipeline at hand.
        others: The UNets of japanese and fast.
        judge: The directory of the judge.
        setting: How pictures are asked for and drawn.
        split: The split.
    """

    def __init__(
        self, base: Model, others: Sequence[Model], judge: Path, setting: Setting, split: Split
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            data.write(Path(folder), setting.language)
            task = TextToImageTask(
                data=f"{folder}/{split}.jsonl",
                score="classification",
                scorer=str(judge),
                head=str(judge / "head.safetensors"),
                steps=setting.steps,
                guidance=setting.guidance,
            )
        leaves = base.family.layout(base.config).leaves
        attention = {path: leaf.group == "attention" for path, leaf in leaves.items()}

        def merged(params: Sequence[Params], weights: Genotype) -> Params:
            return unflatten(added(*map(flatten, params), attention, weights))

        self._evaluate = Evaluator(
            base.family,
            base.config,
            merged,
            [base.params, *(other.params for other in others)],
            {split: task.bind(base)},
            mesh=make_mesh(),
            dims=4,
            population_size=1,
        )
        self._split = split

    def __call__(self, weights: Sequence[float]) -> Float[np.ndarray, " items"]:
        return self._evaluate(np.array([weights], np.float32), self._split).items[0]


def added(
    base: Params, one: Params, two: Params, attention: Mapping[str, bool], weights: Genotype
) -> Params:
    """Return base + weight · task vector of one + weight · task vector of two, leaf by leaf."""
    found = {}
    for path, leaf in base.items():
        first, second = weights[:2] if attention[path] else weights[2:]
        found[path] = leaf + first * (one[path] - leaf) + second * (two[path] - leaf)
    return found


def told(items: Float[np.ndarray, " items"]) -> str:
    """Write the mean with its 95 % interval, in percent."""
    low, high = interval(items)
    return f"{100 * items.mean():5.1f} ({100 * low:.1f} - {100 * high:.1f})"


if __name__ == "__main__":
    main()
