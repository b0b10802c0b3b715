"""How the models of a family carry out one kind of request."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import numpy as np

from evojax_merge.models.layout import Layout
from evojax_merge.models.request import Request
from evojax_merge.params.abstract import computed
from evojax_merge.params.types import Array, Float

Batch = tuple[Any, ...]
"""Fields of one compiled shape: arrays whose first axis counts rows, or values in `Common`."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Common:
    """A field of a batch that all its rows have in common. Choosing rows leaves it as it is.

    Attributes:
        value: An array, or a tree of arrays.
    """

    value: Any

    def __getitem__(self, rows: Any) -> "Common":
        return self


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PerItem:
    """A field of a batch that is several arrays, of which each has a row for each item.

    Attributes:
        value: A tree of arrays.
    """

    value: Any

    def __getitem__(self, rows: Any) -> "PerItem":
        return PerItem(jax.tree.map(lambda leaf: computed(lambda own: own[rows], leaf), self.value))


Program = Callable[..., Array]
"""(parameters of a population, *fields of a batch) -> outputs with a leading population axis."""

Predict = Callable[..., tuple[Float[Array, "batch places classes"], Float[Array, "batch places"]]]
"""(parameters, *fields of a batch) -> logits, and how much each place of an item counts."""

ItemLoglikelihood = Callable[..., Float[Array, ""]]
"""(parameters, *fields of one labelled item) -> its log-likelihood in nats, float32."""


class Ability(abc.ABC):
    """What a family can do for one kind of request.

    ``config`` below is the family's reading of ``config.json``. ``request`` is one of the kind
    that the ability is for.

    Attributes:
        one_by_one: Whether a program computes candidates one after another, so that nothing is
            gained where a device holds several.
        on_host: Whether a program is a function of the host, which is not compiled. It takes how
            many candidates count as ``count``, and leaves out those that only fill up a chunk.
    """

    one_by_one: ClassVar[bool] = False
    on_host: ClassVar[bool] = False

    @abc.abstractmethod
    def program(self, config: Any, request: Any, axes: Any) -> Program:
        """Make the program that a population runs on each batch. The caller jits it.

        Args:
            config: The configuration of all candidates.
            request: What they are to do.
            axes: The axis of the population in each leaf of their parameters.
        """

    @abc.abstractmethod
    def bytes(
        self, config: Any, request: Any, batch: Batch, itemsize: int, hops: int | None = None
    ) -> int:
        """Estimate from above a candidate's cache and activations on one batch, in bytes.

        Args:
            config: The configuration of the candidate.
            request: What the candidate does.
            batch: The batch that it does it on.
            itemsize: The number of bytes of a number.
            hops: The greatest length of the candidate's path, where it has one.
        """

    def smaller(self, request: Any, batches: Sequence[Batch]) -> Request | None:
        """Find a request for the same outputs that takes less memory and more time, or None.

        Args:
            request: The request that takes too much memory.
            batches: All batches that the request is for.
        """
        return None

    def predict(self, config: Any, request: Any) -> Predict:
        """Return the function that predicts with one model, differentiable in its parameters.

        Args:
            config: The configuration of the model.
            request: What it is to do.

        Raises:
            ValueError: Requests of this kind have no predictions.
        """
        raise ValueError("this request has no predictions")

    def loglikelihood(self, config: Any) -> ItemLoglikelihood:
        """Return the log-likelihood of one labelled item, differentiable in the parameters.

        Raises:
            ValueError: Requests of this kind have no labels.
        """
        raise ValueError("this request has no likelihood of labels")

    def rows(
        self, fields: tuple[np.ndarray, ...], real: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Return what ``forward`` takes of labelled items, and the weight of each row it reads.

        Args:
            fields: The fields of a batch of labelled items.
            real: A number for each item: 1, or 0 where the item only fills the batch.

        Raises:
            ValueError: Requests of this kind have no labelled items.
        """
        raise ValueError("this request has no labelled items")


class LayoutAbility(Ability):
    """What can be done with models of any family by their leaves, whatever they compute.

    Args:
        layout: The function that makes the layout of the models of a configuration.
    """

    def __init__(self, layout: Callable[[Any], Layout]):
        self._layout = layout
