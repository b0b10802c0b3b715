"""Lanes hold the candidates of a population side by side, or the only one."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax

from evojax_merge.params.population import capacity, only


class Lanes(NamedTuple):
    """Candidates, and a way to do something with each of them.

    Attributes:
        of: The parameters, and perhaps more, of the population. A single candidate has no axis for
            it, since XLA updates a cache in place only where no axis of length 1 must be taken off.
        axes: The axis of the population in each leaf of ``of``.
        lead: The size of the population, or nothing where there is one candidate.
    """

    of: Any
    axes: Any
    lead: tuple[int, ...]

    @classmethod
    def make(cls, of: Any, axes: Any) -> Self:
        """Make the lanes of a population, which stands at ``axes`` in the leaves of ``of``."""
        size = capacity(axes, of)
        return cls(only(axes, of), axes, ()) if size == 1 else cls(of, axes, (size,))

    def each(self, fn: Callable[..., Any], *own: Any) -> Any:
        """Call ``fn(of, *own)`` for each candidate, with what stands of ``own`` in its lane."""
        if not self.lead:
            return fn(self.of, *own)
        return jax.vmap(fn, in_axes=(self.axes, *(0 for _ in own)))(self.of, *own)
