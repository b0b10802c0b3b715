"""How near a drawn picture is to its prompt, or to a picture, in the space of a CLIP.

CLIPScore (Hessel et al., 2021, arXiv 2104.08718), PickScore (Kirstain et al., 2023, 2305.01569) and
HPSv2 (Wu et al., 2023, 2306.09341) compare with the prompt. They differ in the CLIP and in what is
made of the cosine. NCS compares with a reference (M2N2, Abrantes et al., 2025, 2508.16204).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from evojax_merge.documents.arguments import check_option
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.drawing.items import Item
from evojax_merge.fitness.drawing.network import Network, Networks
from evojax_merge.fitness.drawing.score import BoundScore, Score, Values
from evojax_merge.fitness.picture_paths import pictures_of
from evojax_merge.fitness.pictures import Picture, opened
from evojax_merge.models.clip.modeling import normalised
from evojax_merge.params.types import Array


class Formula(NamedTuple):
    """What is made of a cosine.

    Attributes:
        unit: The formula in words.
        of: The function of the cosine and of the factor in the network's own logits.
    """

    unit: str
    of: Callable[[Any, float], Any]


FORMULAS = {
    "cosine": Formula("cosine", lambda cosine, scale: cosine),
    "ncs": Formula("(1 + cosine) / 2", lambda cosine, scale: (1 + cosine) / 2),
    "clipscore": Formula("2.5 max(cosine, 0)", lambda cosine, scale: 2.5 * np.maximum(cosine, 0)),
    "hundred": Formula("100 cosine", lambda cosine, scale: 100 * cosine),
    "logit": Formula("exp(logit_scale) cosine", lambda cosine, scale: scale * cosine),
}


@dataclasses.dataclass(frozen=True)
class Cosine:
    """This reader gives the cosine between the features of a picture and a direction."""

    fields: int = 1
    columns: int = 1

    def __call__(
        self, params: Any, features: Float[Array, "rows features"], *fields: Array
    ) -> Float[Array, "rows 1"]:
        (direction,) = fields
        return jnp.sum(normalised(features) * direction, axis=-1, keepdims=True)


class Similarity(Score):
    """The similarity of each picture to its prompt, or to a picture that the item names.

    Args:
        scorer: The directory or hub id of a CLIP.
        image: The field of the path of a reference, or None to compare with the prompt.
        formula: What is made of the cosine, one of `FORMULAS`.
        task: The name of the task in messages.

    Raises:
        ValueError: There is no such formula.
    """

    def __init__(self, scorer: str, image: str | None, formula: str, task: str) -> None:
        check_option(f"{task}: formula", formula, [*FORMULAS])
        self._scorer, self._image, self._formula = scorer, image, FORMULAS[formula]
        self._scaled = formula == "logit"
        other = "prompt" if image is None else "reference"
        self.measure = Measure(f"similarity to the {other}", self._formula.unit)

    def check(self, splits: Mapping[str, Sequence[Record]]) -> None:
        """Check that each item that is compared with a reference has one, which can be read.

        Raises:
            DataError: It has none or several, or one that is missing, outside of the directory or
                no picture.
        """
        if self._image is not None:
            for record in (record for records in splits.values() for record in records):
                picture = reference_of(record, self._image)
                opened(picture, picture.source)  # type: ignore[arg-type]

    def bind(self, items: Sequence[Item], networks: Networks) -> "BoundSimilarity":
        """Open the CLIP.

        Raises:
            CheckpointError: It is damaged.
            ValueError: It is no CLIP, or one without the tower that is needed.
        """
        network = networks(self._scorer)
        if self._image is None:
            network.check_reads()
            return BoundSimilarity(network, self._formula, self._scaled, items, None)
        pictures = [reference_of(item.record, self._image) for item in items]
        return BoundSimilarity(network, self._formula, self._scaled, items, pictures)


class BoundSimilarity(BoundScore):
    """The directions of prompts or references, and what is made of cosines with them."""

    reader = Cosine()

    def __init__(
        self,
        network: Network,
        formula: Formula,
        scaled: bool,
        items: Sequence[Item],
        pictures: Sequence[Picture] | None,
    ) -> None:
        self.network: Network = network
        self._formula, self._scaled = formula, scaled
        self._items, self._pictures = items, pictures

    @property
    def worst(self) -> float:  # type: ignore[override]
        """What the formula makes of the least cosine."""
        return float(self._formula.of(-1.0, self._scale))

    @functools.cached_property
    def fields(self) -> tuple[np.ndarray, ...]:
        """The directions, computed when they are first asked for."""
        if self._pictures is None:
            return (self.network.text_features([item.prompt for item in self._items]),)
        features = self.network.picture_features(self._pictures)
        return (np.asarray(normalised(jnp.asarray(features))),)

    def results(
        self, values: Values, rows: Int[np.ndarray, " items"]
    ) -> Float[np.ndarray, "pop items"]:
        """Return what the formula makes of the cosines."""
        return np.asarray(self._formula.of(values[..., 0].astype(np.float64), self._scale))

    def record(self, values: Float[np.ndarray, " columns"], row: int) -> dict[str, Any]:
        """Return the name of the reference, if there is one."""
        return {} if self._pictures is None else {"reference": self._pictures[row].name}

    @functools.cached_property
    def _scale(self) -> float:
        return self.network.scale if self._scaled else 1.0


def reference_of(record: Record, field: str) -> Picture:
    """Return the picture that a drawn one is compared with. It is not opened.

    Raises:
        DataError: There is none or several, or it is missing or outside of the data's directory.
    """
    pictures = pictures_of(record, field)
    if len(pictures) > 1:
        raise DataError(
            f"{record.place}: field {field!r} names {len(pictures)} pictures; name one, with which "
            "the drawn one is compared"
        )
    return pictures[0]
