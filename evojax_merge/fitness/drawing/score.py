"""What is measured of drawn pictures, before and after networks are opened."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.drawing.items import Item
from evojax_merge.fitness.drawing.network import Network, Networks
from evojax_merge.params.types import Array

Values = Shaped[np.ndarray, "pop items ..."]


@runtime_checkable
class Reader(Protocol):
    """A hashable pure function that makes numbers of the features of pictures.

    Attributes:
        fields: How many arrays with a row for each picture it reads.
        columns: How many numbers it gives for a picture.
    """

    @property
    def fields(self) -> int: ...

    @property
    def columns(self) -> int: ...

    def __call__(
        self, params: Any, features: Float[Array, "rows features"], *fields: Array
    ) -> Float[Array, "rows columns"]:
        """Return the numbers of each picture."""
        ...


class Score(abc.ABC):
    """What is measured of drawn pictures.

    Attributes:
        measure: What the results are.
        whole: Whether there is one result for all pictures of a split together, and none for each.
    """

    measure: Measure
    whole: bool = False

    def check(self, splits: Mapping[str, Sequence[Record]]) -> None:
        """Check the items of all splits.

        Raises:
            DataError: An item lacks something.
        """
        del splits  # a score that needs no more than the prompts

    @abc.abstractmethod
    def bind(self, items: Sequence[Item], networks: Networks) -> "BoundScore":
        """Make the score ready for the items of a split. No weights are read.

        Raises:
            CheckpointError: A network is damaged.
            ValueError: A network cannot do what it is asked for.
        """


class BoundScore(abc.ABC):
    """A score of the items of a split.

    Attributes:
        network: The network that looks at the pictures, if one does.
        reader: What is read off its features. Without one, the pictures themselves are scored.
        worst: What a picture scores that is black or not finite.
    """

    network: Network | None = None
    reader: Reader | None = None
    worst: float

    @property
    def params(self) -> Any:
        """The parameters of the reader, computed when they are first asked for."""
        return ()

    @property
    def fields(self) -> tuple[np.ndarray, ...]:
        """The arrays that the reader reads, with a row for each item, computed likewise."""
        return ()

    @abc.abstractmethod
    def results(
        self, values: Values, rows: Int[np.ndarray, " items"]
    ) -> Float[np.ndarray, "pop results"]:
        """Return the results of some items; larger is better.

        Args:
            values: The numbers of the reader, ``[pop, items, columns]``; without a reader the
                pictures, uint8 ``[pop, items, height, width, 3]``.
            rows: The places of the items in the split.
        """

    def record(self, values: Shaped[np.ndarray, "..."], row: int) -> dict[str, Any]:
        """Return what is worth telling of one item besides its result.

        Args:
            values: The numbers of the reader for the item.
            row: The place of the item in the split.
        """
        return {}
