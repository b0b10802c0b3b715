"""Score the sources, published merges, and a grid of weights for the whole language model.

    python -m experiments.vision.grid [--sources DIR] [--split search] [--draws 60]

This is the loop in which the sources were chosen. It needs nothing of the search.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np

from evojax_merge.models import family_of
from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.models.seeing.config import LANGUAGE
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Params
from experiments.vision import checkpoint
from experiments.vision.judge import Judge
from experiments.vision.make_sources import SOURCES

WEIGHTS = (0.0, 0.3, 0.6, 0.9, 1.2, 1.5)
GROUPS = {"attention": "attention", "mlp": "mlp", "norm": "norm"}
"""Groups of the layout, as the space of the experiment has them; all others are ``vocabulary``."""


NAMED = {
    "base": (0.0, 0.0),
    "seer": (1.0, 0.0),
    "japanese": (0.0, 1.0),
    "average": (0.5, 0.5),
    "sum": (1.0, 1.0),
}
"""The weights of seer and Japanese model in sources and published merges."""


class Sources(NamedTuple):
    """The language models by leaf, the seer as a whole, and the group of each leaf."""

    base: Mapping[str, Array]
    seer: Mapping[str, Array]
    japanese: Mapping[str, Array]
    config: LlavaConfig
    whole: Params
    groups: Mapping[str, str]

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read them. The Japanese model gets the base's row for the token that it lacks."""
        base, layout_groups, _ = _read(directory / "base")
        seer, _, config = _read(directory / "seer")
        japanese, _, _ = _read(directory / "japanese")
        leaves = flatten(base)
        padded = {
            path: jnp.concatenate([leaf, leaves[path][len(leaf) :]])
            if len(leaf) < len(leaves[path])
            else leaf
            for path, leaf in flatten(japanese).items()
        }
        groups = {path: GROUPS.get(group, "vocabulary") for path, group in layout_groups.items()}
        return cls(leaves, flatten(seer[LANGUAGE]), padded, config, seer, groups)

    def merged(self, seer: Mapping[str, float], japanese: Mapping[str, float]) -> Params:
        """Return base + Σ weight of the leaf's group · task vector."""
        return unflatten(
            {
                path: leaf
                + seer[self.groups[path]] * (self.seer[path] - leaf)
                + japanese[self.groups[path]] * (self.japanese[path] - leaf)
                for path, leaf in self.base.items()
            }
        )

    def uniform(self, seer: float, japanese: float) -> Params:
        """Return the merge with a weight for each whole task vector."""
        names = set(self.groups.values())
        return self.merged(dict.fromkeys(names, seer), dict.fromkeys(names, japanese))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, default=SOURCES)
    parser.add_argument("--split", default="search")
    parser.add_argument(
        "--draws", type=int, default=0, help="random weights of groups, best of so many"
    )
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    given = parser.parse_args()
    sources = Sources.read(given.sources)
    english = Judge(sources.config, sources.whole, given.split, "en")
    judge = Judge(sources.config, sources.whole, given.split)
    print("seer, English  ", english.told(sources.uniform(1, 0)))
    for name, weights in NAMED.items():
        print(f"{name:15}", judge.told(sources.uniform(*weights)), flush=True)
    grid = {}
    print("seer down, japanese across", *given.weights)
    for a in given.weights:
        grid |= {(a, b): judge.score(sources.uniform(a, b)) for b in given.weights}
        print(f"{a:4}", *(f"{grid[a, b]:5.1f}" for b in given.weights), flush=True)
    best = max(grid, key=lambda pair: grid[pair])
    print("best", best, judge.told(sources.uniform(*best)), flush=True)
    if given.draws:
        weights = drawn(sources, judge, given.draws)
        print("best of random", weights, judge.told(sources.merged(*weights)))


def drawn(sources: Sources, judge: Judge, count: int) -> list[dict[str, float]]:
    """Return the best of random weights of the groups of seer and Japanese model."""
    rng, names, found = np.random.default_rng(0), sorted(set(sources.groups.values())), []
    for _ in range(count):
        weights = [{name: round(float(rng.uniform(0, 1.5)), 3) for name in names} for _ in range(2)]
        found.append((judge.score(sources.merged(*weights)), weights))
    return max(found, key=lambda pair: pair[0])[1]


def _read(directory: Path) -> tuple[Params, dict[str, str], Any]:
    """Read the parameters, the group of each leaf, and the configuration."""
    written = json.loads((directory / "config.json").read_text())
    family = family_of(written)
    config = family.config_from_hf(written)
    groups = {path: leaf.group for path, leaf in family.layout(config).leaves.items()}
    return checkpoint.load(directory, family, config), groups, config


if __name__ == "__main__":
    main()
