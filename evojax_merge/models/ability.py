"""How the models of a family carry out one kind of request."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from evojax_merge.models.request import Request
from evojax_merge.params.types import Array, Float

Batch = tuple[Any, ...]
"""Arrays of one compiled shape, the first axis of each of which counts rows; or `Common`."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Common:
    """A field of a batch that its rows have in common: to choose rows leaves it as it is.

    Attributes:
        value: An array, or a tree of arrays.
    """

    value: Any

    def __getitem__(self, rows: Any) -> "Common":
        return self


Program = Callable[..., Array]
"""(parameters of a population, *fields of a batch) -> outputs with a leading population axis."""

Predict = Callable[..., tuple[Float[Array, "batch places classes"], Float[Array, "batch places"]]]
"""(parameters, *fields of a batch) -> logits, and how much each place of an item counts."""

ItemLoglikelihood = Callable[..., Float[Array, ""]]
"""(parameters, *fields of one labelled item) -> its log-likelihood in nats, float32."""


class Ability(abc.ABC):
    """What a family can do for one kind of request.

    ``config`` below is the family's reading of ``config.json``, ``request`` one of the kind that
    the ability is for.
    """

    @abc.abstractmethod
    def program(self, config: Any, request: Any, axes: Any) -> Program:
        """Make the program that a population runs on each batch; to be jitted by the caller.

        Args:
            config: Of all candidates.
            request: What they are to do.
            axes: Where the population stands in their parameters.
        """

    @abc.abstractmethod
    def bytes(
        self, config: Any, request: Any, batch: Batch, itemsize: int, hops: int | None = None
    ) -> int:
        """Estimate from above a candidate's cache and activations on one batch, in bytes.

        Args:
            config: Of the candidate.
            request: What it does.
            batch: On what.
            itemsize: Bytes of a number.
            hops: The greatest length of its path, where it has one.
        """

    def smaller(self, request: Any, batches: Sequence[Batch]) -> Request | None:
        """A request for the same outputs that takes less memory and more time; None: there is none.

        Args:
            request: The one that takes too much.
            batches: All that it is for.
        """
        return None

    def predict(self, config: Any) -> Predict:
        """The predictions of one model, differentiable in its parameters.

        Raises:
            ValueError: Requests of this kind have none.
        """
        raise ValueError("this request has no predictions")

    def loglikelihood(self, config: Any) -> ItemLoglikelihood:
        """The log-likelihood of one labelled item, differentiable in the parameters.

        Raises:
            ValueError: Requests of this kind have no labels.
        """
        raise ValueError("this request has no likelihood of labels")

    def rows(
        self, fields: tuple[np.ndarray, ...], real: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """What ``forward`` takes of labelled items, and the weight of each row it reads.

        Args:
            fields: Of a batch of labelled items.
            real: For each item 1, or 0 where it only fills the batch.

        Raises:
            ValueError: Requests of this kind have no labelled items.
        """
        raise ValueError("this request has no labelled items")
