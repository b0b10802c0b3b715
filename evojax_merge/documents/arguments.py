"""Checks of arguments of operators, strategies and the like, before anything is computed."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

LARGEST = float(np.finfo(np.float32).max)
"""Merges are computed in float32, where a larger number is infinite."""

MOST_CANDIDATES = 100_000
"""The most candidates of a generation, which is proposed, and held in memory, as a whole."""


def allowed(least: float, most: float) -> str:
    """The finite numbers from ``least`` to ``most`` in words."""
    if math.isinf(least) and math.isinf(most):
        return "a finite number"
    if math.isinf(most):
        return f"a finite number of at least {least:g}"
    if math.isinf(least):
        return f"a finite number of at most {most:g}"
    return f"a finite number from {least:g} to {most:g}"


def within(number: float, least: float, most: float) -> bool:
    """Whether a number is finite in float32, and in a domain."""
    return abs(number) <= LARGEST and least <= number <= most


def check_number(
    where: str, given: Any, least: float = float("-inf"), most: float = float("inf")
) -> None:
    """Check that an argument is a finite number within bounds; a traced one is taken as it is.

    Raises:
        ValueError: The argument is no such number.
    """
    if isinstance(given, jax.Array):
        return
    number = isinstance(given, int | float | np.integer | np.floating)
    if not number or isinstance(given, bool) or not within(given, least, most):
        raise ValueError(f"{where} must be {allowed(least, most)}, not {_shown(given)}")


def check_whole(where: str, given: Any, least: int, most: int = 2**31 - 1) -> int:
    """Return the argument, which must be a whole number within bounds.

    Raises:
        ValueError: The argument is no such number.
    """
    whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
    if not whole or given < least:
        raise ValueError(f"{where} must be a whole number of at least {least}, not {_shown(given)}")
    if given > most:
        raise ValueError(f"{where} must be at most {most:,}, not {_shown(given)}")
    return int(given)


def check_text(where: str, given: Any, empty: bool = True) -> str:
    """Return the argument, which must be a text that can be written as UTF-8.

    Args:
        where: What messages call the argument.
        given: The argument.
        empty: Whether the text may have no characters.

    Raises:
        ValueError: The argument is no such text.
    """
    if not isinstance(given, str) or not (given or empty):
        raise ValueError(f"{where} must be a text{'' if empty else ', not empty'}, not {given!r}")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{where} holds half of a surrogate pair, which is no character: {given!r}"
        ) from None
    return given


def check_population_size(given: Any, least: int = 1) -> int:
    """Return the size of a generation, which must be a whole number within bounds.

    Raises:
        ValueError: The argument is no such number.
    """
    return check_whole("strategy.population_size", given, least, MOST_CANDIDATES)


def check_switch(where: str, given: Any) -> None:
    """Check that an argument is true or false.

    Raises:
        ValueError: The argument is something else.
    """
    if not isinstance(given, bool):
        raise ValueError(f"{where} must be true or false, not {_shown(given)}")


def check_option(where: str, given: Any, known: Sequence[Any]) -> None:
    """Check that an argument is one of the known values.

    Raises:
        ValueError: The argument is none of them.
    """
    if given not in known:
        raise ValueError(f"{where} is {given!r}; use one of {', '.join(map(str, known))}")


def _shown(given: Any) -> str:
    return f"the text {given!r}" if isinstance(given, str) else repr(given)
