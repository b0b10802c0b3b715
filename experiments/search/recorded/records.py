"""What is recorded of an experiment's candidates, in one compact file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evojax_merge.documents.files import write_whole
from evojax_merge.params.types import Bool, Float, Int

FOLDER = Path(__file__).parent / "data"


class Shard(NamedTuple):
    """Candidates that were measured on the same items.

    Attributes:
        design: How they were proposed.
        genotypes: The candidates, as they were measured.
        seeds: The seed that each belongs to.
        rows: The items that were measured, in ascending order.
        results: Whether each candidate solved each of them.
    """

    design: str
    genotypes: Float[np.ndarray, "pop dims"]
    seeds: Int[np.ndarray, " pop"]
    rows: Int[np.ndarray, " rows"]
    results: Bool[np.ndarray, "pop rows"]

    def save(self, path: Path) -> None:
        """Write it whole, so that an interruption leaves it or nothing."""
        _save(path, self._asdict())

    @classmethod
    def load(cls, path: Path) -> "Shard":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as found:
            return cls(str(found["design"]), *(found[name] for name in cls._fields[1:]))


class Record(NamedTuple):
    """Candidates of an experiment and what they answered.

    Attributes:
        overrides: What composes the experiment.
        lower: The least value of each gene.
        upper: The greatest value of each gene.
        start: Where a search begins.
        searched: How many items drive a search. They come first; the others are held out.
        names: The designs by which candidates were proposed.
        genotypes: The candidates, as they were measured: float16 holds them exactly.
        design: The place of each candidate's design in ``names``.
        seed: The seed that each candidate belongs to, of its design.
        shard: The shard of each candidate.
        measured: Which items were measured for the candidates of each shard.
        results: Whether a candidate solved an item; false where it was not measured.
    """

    overrides: tuple[str, ...]
    lower: Float[np.ndarray, " dims"]
    upper: Float[np.ndarray, " dims"]
    start: Float[np.ndarray, " dims"]
    searched: int
    names: tuple[str, ...]
    genotypes: Float[np.ndarray, "pop dims"]
    design: Int[np.ndarray, " pop"]
    seed: Int[np.ndarray, " pop"]
    shard: Int[np.ndarray, " pop"]
    measured: Bool[np.ndarray, "shards items"]
    results: Bool[np.ndarray, "pop items"]

    @property
    def items(self) -> int:
        """The number of items, those held out among them."""
        return self.results.shape[1]

    def means(self, part: slice) -> Float[np.ndarray, " pop"]:
        """The accuracy of each candidate on those items of a part that it was measured on."""
        met = self.measured[self.shard, part]
        return (self.results[:, part] & met).sum(1) / met.sum(1)

    def save(self, path: Path) -> None:
        """Write it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = self._asdict()
        about = {name: arrays.pop(name) for name in ("overrides", "searched", "names")}
        packed = {name: np.packbits(arrays.pop(name), axis=1) for name in ("measured", "results")}
        _save(path, arrays | packed | {"about": json.dumps(about | {"items": self.items})})


def load(name: str, folder: Path = FOLDER) -> Record:
    """The record of a benchmark.

    Raises:
        ValueError: There is none of that name.
    """
    path = folder / f"{name}.npz"
    if not path.exists():
        there = ", ".join(sorted(one.stem for one in folder.glob("*.npz"))) or "none"
        raise ValueError(
            f"{path} is missing (there are: {there}); make it with "
            f"python -m experiments.search.recorded.record {name}"
        )
    with np.load(path, allow_pickle=False) as found:
        arrays: dict[str, Any] = dict(found)
    about = json.loads(str(arrays.pop("about")))
    items = about.pop("items")
    for field in ("measured", "results"):
        arrays[field] = np.unpackbits(arrays[field], axis=1, count=items).astype(bool)
    for field in ("overrides", "names"):
        about[field] = tuple(about[field])
    return Record(**about, **arrays)


def joined(
    shards: Sequence[Shard],
    overrides: tuple[str, ...],
    bounds: tuple[Float[np.ndarray, " dims"], ...],
    searched: int,
    items: int,
) -> Record:
    """The record of shards.

    Args:
        shards: What was measured.
        overrides: What composes the experiment.
        bounds: Lower and upper bound and start of each gene.
        searched: How many of the items drive a search.
        items: The number of items.
    """
    names = tuple(dict.fromkeys(shard.design for shard in shards))
    sizes = [len(shard.genotypes) for shard in shards]
    measured = np.zeros((len(shards), items), bool)
    results = np.zeros((sum(sizes), items), bool)
    for place, (shard, end) in enumerate(zip(shards, np.cumsum(sizes), strict=True)):
        measured[place, shard.rows] = True
        results[end - len(shard.genotypes) : end, shard.rows] = shard.results
    lower, upper, start = bounds
    return Record(
        overrides,
        lower,
        upper,
        start,
        searched,
        names,
        np.concatenate([shard.genotypes for shard in shards]).astype(np.float16),
        np.repeat([names.index(shard.design) for shard in shards], sizes).astype(np.int8),
        np.concatenate([shard.seeds for shard in shards]).astype(np.int16),
        np.repeat(np.arange(len(shards)), sizes).astype(np.int16),
        measured,
        results,
    )


def _save(path: Path, arrays: dict[str, Any]) -> None:
    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # by its name NumPy would add a suffix
            np.savez_compressed(file, **arrays)

    write_whole(path, write)
