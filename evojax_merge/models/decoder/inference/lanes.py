"""The candidates of a population side by side, or the one there is."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax

from evojax_merge.params.population import capacity, only
from evojax_merge.params.types import Params


class Lanes(NamedTuple):
    """Candidates, and a way to do something with each of them.

    Attributes:
        of: Parameters, and perhaps more, of the population, or of the one candidate without an axis
            for it: XLA updates a cache in place only where no axis of length 1 is to be taken off.
        axes: Where the population stands in ``of``.
        lead: Its size; empty where there is one candidate.
    """

    of: Any
    axes: Any
    lead: tuple[int, ...]

    @classmethod
    def make(cls, params: Params, axes: Any) -> Self:
        """The lanes of a population, which stands at ``axes`` in the parameters."""
        size = capacity(axes, params)
        return cls(only(axes, params), axes, ()) if size == 1 else cls(params, axes, (size,))

    def each(self, fn: Callable[..., Any], *own: Any) -> Any:
        """``fn(of, *own)`` for each candidate; of ``own`` it gets what stands in its lane."""
        if not self.lead:
            return fn(self.of, *own)
        return jax.vmap(fn, in_axes=(self.axes, *(0 for _ in own)))(self.of, *own)
