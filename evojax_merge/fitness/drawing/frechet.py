"""The distance between what a model draws and a folder of pictures.

Heusel et al., 2017, arXiv 1706.08500: features of both are taken for draws from two normal
distributions, of which the squared Fréchet distance is

    |m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½).

With C₁ = AᵀA the last trace is the sum of the singular values of A C₂^½. That paper's network is an
Inception; numbers of other networks do not compare with its numbers.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import at_home
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.drawing.items import Item
from evojax_merge.fitness.drawing.network import Network, Networks
from evojax_merge.fitness.drawing.score import BoundScore, Score, Values
from evojax_merge.fitness.picture_data import SUFFIXES
from evojax_merge.fitness.pictures import Picture
from evojax_merge.params.types import Array


class Moments(NamedTuple):
    """What a distance needs to know of the features of references.

    Attributes:
        mean: Their mean.
        root: The square root of their covariance.
        trace: The trace of their covariance.
    """

    mean: Float[np.ndarray, " features"]
    root: Float[np.ndarray, "features features"]
    trace: float

    @classmethod
    def of(cls, features: Float[np.ndarray, "pictures features"]) -> "Moments":
        """Return the moments of features of at least two pictures, in float64."""
        wide = features.astype(np.float64)
        mean = wide.mean(axis=0)
        covariance = (wide - mean).T @ (wide - mean) / (len(wide) - 1)
        values, vectors = np.linalg.eigh(covariance)
        root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        return cls(mean, root, float(np.trace(covariance)))


def frechet_distance(features: Float[np.ndarray, "pictures features"], other: Moments) -> float:
    """Return the squared distance between features of at least two pictures and references.

    It is nan where a feature is not finite.
    """
    wide = features.astype(np.float64)
    if not np.isfinite(wide).all():
        return float("nan")
    mean = wide.mean(axis=0)
    spread = (wide - mean) / np.sqrt(len(wide) - 1)
    common = np.linalg.svd(spread @ other.root, compute_uv=False).sum()
    between = float(np.square(mean - other.mean).sum())
    return between + float(np.square(spread).sum()) + other.trace - 2 * float(common)


@dataclasses.dataclass(frozen=True)
class Features:
    """This reader gives the features of pictures as they are.

    Attributes:
        columns: How many there are.
    """

    columns: int
    fields: int = 0

    def __call__(
        self, params: Any, features: Float[Array, "rows features"], *fields: Array
    ) -> Float[Array, "rows features"]:
        return features.astype(jnp.float32)


class Frechet(Score):
    """Minus the Fréchet distance between all pictures of a split and a folder of references.

    A picture has no distance by itself, so that there is one result for a split.

    Args:
        scorer: The directory or hub id of the CLIP, or of its vision tower alone, whose features
            are compared.
        references: The folder of the references.
        task: The name of the task in messages.

    Raises:
        DataError: The folder is missing, or has fewer than two pictures.
    """

    measure = Measure("minus FID", "squared features", sampled=False)
    whole = True

    def __init__(self, scorer: str, references: str | None, task: str) -> None:
        if references is None:
            raise ValueError(
                f"{task}: score=fid compares with pictures; name their folder as fitness.references"
            )
        self._scorer, self._task = scorer, task
        self._pictures = pictures_in(references)

    def bind(self, items: Sequence[Item], networks: Networks) -> "BoundFrechet":
        """Open the network.

        Raises:
            CheckpointError: It is damaged.
            ValueError: It is no CLIP, or there is but one item.
        """
        if len(items) < 2:
            raise ValueError(
                f"{self._task}: score=fid needs the spread of the pictures, and a split has one "
                "item; give more"
            )
        return BoundFrechet(networks(self._scorer), self._pictures)


class BoundFrechet(BoundScore):
    """A network and the moments of its features of the references."""

    worst = float("nan")

    def __init__(self, network: Network, pictures: Sequence[Picture]) -> None:
        self.network: Network = network
        self.reader = Features(network.width)
        self._pictures = pictures

    @functools.cached_property
    def _moments(self) -> Moments:
        return Moments.of(self.network.picture_features(self._pictures))

    def results(
        self, values: Values, rows: Int[np.ndarray, " items"]
    ) -> Float[np.ndarray, "pop 1"]:
        """Return minus the distance of each candidate; nan if one of its pictures is not finite."""
        return np.array([[-frechet_distance(own, self._moments)] for own in values])


def pictures_in(folder: str) -> tuple[Picture, ...]:
    """Return the pictures of a folder, in the order of their names. None is opened.

    Raises:
        DataError: The folder is missing, or has fewer than two pictures.
    """
    try:
        path = at_home(folder)
    except DocumentError as error:
        raise DataError(f"{folder}: {error}") from None
    if not path.is_dir():
        raise DataError(f"{folder}: is no folder; give that of the references")
    files = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES)
    found = tuple(Picture(folder, one.name, Path(one)) for one in files if one.is_file())
    if len(found) < 2:
        raise DataError(
            f"{folder}: holds {len(found)} pictures ({', '.join(SUFFIXES[:3])}, …); give at least "
            "two, and better thousands"
        )
    return found
