"""Features of pictures for a tower and a projector that are not merged, computed once and kept."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from evojax_merge.checkpoints import Checkpoint, load, take_parts
from evojax_merge.fitness.eyes import SEEING
from evojax_merge.fitness.kept import array_hash, params_hash, storable
from evojax_merge.models.request import Pixels
from evojax_merge.models.seeing.vision import Tiles
from evojax_merge.operators.statistics.cache import Entry, StatisticsCache
from evojax_merge.params.abstract import is_abstract
from evojax_merge.params.types import Params

FORMAT = 2
"""This is raised whenever the same pictures get other features, or these are kept otherwise."""

TILES = 64
"""How many tiles a device has at a time, at most, but all those of a picture."""

TileFeatures = Float[np.ndarray, "_ positions hidden"]


class CarriedEyes:
    """The tower and the projector of a carrier.

    Features are kept on disk, by the content of the prepared picture, of the weights and of the
    configuration, and are found there by later runs.

    Args:
        carrier: The checkpoint, of which only the tensors of these parts are read.
        pixels: How whole numbers become the floats that the tower reads.
        directory: The directory that features are kept in, or None to keep none.
    """

    def __init__(self, carrier: Checkpoint, pixels: Pixels, directory: Path | None) -> None:
        self._part, self._vision = (
            take_parts(carrier, SEEING),
            carrier.family.vision(carrier.config),
        )
        self._pixels = pixels
        self._cache = None
        if directory is not None:
            self._cache = StatisticsCache(directory, content="features of pictures")

    def __call__(
        self, pictures: Sequence[Tiles]
    ) -> tuple[list[Any], Float[np.ndarray, " hidden"] | None]:
        """The `TileFeatures` of pictures that are all different, and the row `EXTRA` if any.

        Of a carrier that is described alone they are shapes.
        """
        model = load(self._part)
        if is_abstract(model.params):
            see, shown = self._vision.features, [jnp.asarray(one)[None] for one in pictures[0]]
            made = jax.eval_shape(lambda params: see(params, self._pixels, *shown)[0], model.params)
            shape: Any = jax.ShapeDtypeStruct(made.shape, model.dtype)
            return [shape] * len(pictures), None
        extra = self._vision.extra(model.params)
        entries = self._entries(model.params, pictures)
        found = [None if entry is None else entry.read() for entry in entries]
        dtype = model.dtype
        known = [None if one is None else one["features"].view(dtype) for one in found]
        missing = [number for number, one in enumerate(known) if one is None]
        made = self._computed(model.params, [pictures[number] for number in missing])
        for number, one in zip(missing, made, strict=True):
            known[number] = one = one.astype(dtype)
            if (entry := entries[number]) is not None:
                entry.write({"features": storable(one)})
        return (
            [one for one in known if one is not None],
            None if extra is None else np.asarray(extra),
        )

    def _entries(self, params: Params, pictures: Sequence[Tiles]) -> list[Entry | None]:
        """The place of each picture's features on disk."""
        if self._cache is None:
            return [None] * len(pictures)
        weights, settings = params_hash(params), self._settings()
        return [
            self._cache.entry(
                "picture_features",
                [weights],
                {
                    **settings,
                    "picture": [array_hash(one) for one in tiles],
                    "shape": [list(one.shape) for one in tiles],
                },
            )
            for tiles in pictures
        ]

    def _settings(self) -> dict[str, Any]:
        numbers = [np.asarray(one, np.float64).tolist() for one in self._pixels]
        return {
            "format": FORMAT,
            "seeing": self._vision.settings,
            "pixels": numbers,
        }

    def _computed(self, params: Params, pictures: Sequence[Tiles]) -> Iterator[TileFeatures]:
        """Compute features, of some pictures at a time."""
        see, pixels = self._vision.features, self._pixels
        run = jax.jit(lambda params, *tiles: see(params, pixels, *tiles)[0])
        counts = [len(tiles[0]) for tiles in pictures]
        room = max([min(TILES, sum(counts)), *counts])
        for group in _groups(counts, room):
            shown = zip(*(pictures[number] for number in group), strict=True)
            tiles = [_filled(np.concatenate(one), room) for one in shown]
            made = np.asarray(run(params, *(jnp.asarray(one)[None] for one in tiles)))
            ends = np.cumsum([counts[number] for number in group])
            yield from np.split(made[: ends[-1]], ends[:-1])


def _groups(counts: Sequence[int], room: int) -> Iterator[list[int]]:
    """Pictures one after another, as many at a time as have room."""
    group: list[int] = []
    taken = 0
    for number, count in enumerate(counts):
        if taken + count > room:
            yield group
            group, taken = [], 0
        group.append(number)
        taken += count
    if group:
        yield group


def _filled(rows: np.ndarray, room: int) -> np.ndarray:
    """Rows, and zeros after them."""
    return np.concatenate([rows, np.zeros((room - len(rows), *rows.shape[1:]), rows.dtype)])
