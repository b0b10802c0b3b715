"""Loops that turn as often as data decide, by names that compiled programs keep.

By them it can be told how often a loop of a program turns that was not run
(`evojax_merge.costs.turns`).
"""

from collections.abc import Callable
from typing import TypeVar

import jax

from evojax_merge.params.types import Array, Bool

CANDIDATES = "candidates"
"""The loop over the candidates that are merged one after another."""

HOPS = "hops"
"""The loop over the layers of a path."""

STEPS = "steps_of_answers"
"""The loop over the tokens of answers."""

REFILLS = "refills"
"""The loop in which prompts that wait take the places of answers that have ended."""

State = TypeVar("State")


def while_loop(
    name: str,
    unfinished: Callable[[State], Bool[Array, ""]],
    body: Callable[[State], State],
    begin: State,
) -> State:
    """Turn a loop of a name, as `jax.lax.while_loop` does."""
    with jax.named_scope(name):
        return jax.lax.while_loop(unfinished, body, begin)
