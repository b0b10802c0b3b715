"""The candidates of a population side by side, or the one there is."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax

from evojax_merge.population import count, only, population_axes
from evojax_merge.types import Params


class Lanes(NamedTuple):
    """Parameters of candidates, and a way to do something with each of them.

    Attributes:
        params: Of the population, or of the one candidate without an axis for it: XLA updates a
            cache in place only where no axis of length 1 is to be taken off it.
        axes: Where the population stands in ``params``.
        lead: Its size; empty where there is one candidate.
    """

    params: Params
    axes: Any
    lead: tuple[int, ...]

    @classmethod
    def of(cls, params: Params, axes: Any = None) -> Self:
        """Lanes of a population, whose axes are by default those of `population_axes`."""
        axes = population_axes(params) if axes is None else axes
        size = count(axes, params)
        return cls(only(axes, params), axes, ()) if size == 1 else cls(params, axes, (size,))

    def each(self, fn: Callable[..., Any], *own: Any) -> Any:
        """``fn(params, *own)`` for each candidate; of ``own`` it gets what stands in its lane."""
        if not self.lead:
            return fn(self.params, *own)
        return jax.vmap(fn, in_axes=(self.axes, *(0 for _ in own)))(self.params, *own)
