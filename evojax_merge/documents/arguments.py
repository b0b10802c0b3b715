"""Arguments of operators, strategies and the like, refused before anything is computed."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

LARGEST = float(np.finfo(np.float32).max)
"""Merges are computed in float32: a larger number is infinite there."""

MOST_CANDIDATES = 100_000
"""A generation is proposed, and held in memory, as a whole."""


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
    """Whether an argument is a finite number within bounds; one that is traced is taken as it is.

    Raises:
        ValueError: it is not.
    """
    if isinstance(given, jax.Array):
        return
    number = isinstance(given, int | float | np.integer | np.floating)
    if not number or isinstance(given, bool) or not within(given, least, most):
        raise ValueError(f"{where} must be {allowed(least, most)}, not {_shown(given)}")


def check_whole(where: str, given: Any, least: int, most: int = 2**31 - 1) -> int:
    """The argument, which must be a whole number within bounds.

    Raises:
        ValueError: it is not.
    """
    whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
    if not whole or given < least:
        raise ValueError(f"{where} must be a whole number of at least {least}, not {_shown(given)}")
    if given > most:
        raise ValueError(f"{where} must be at most {most:,}, not {_shown(given)}")
    return int(given)


def check_text(where: str, given: Any, empty: bool = True) -> str:
    """The argument, which must be a text; its characters can all be written as UTF-8.

    Args:
        where: What messages call it.
        given: The argument.
        empty: Whether it may have no characters.

    Raises:
        ValueError: it is not.
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
    """The candidates of a generation, which must be a whole number within bounds.

    Raises:
        ValueError: it is not.
    """
    return check_whole("strategy.population_size", given, least, MOST_CANDIDATES)


def check_switch(where: str, given: Any) -> None:
    """Whether an argument is true or false.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(given, bool):
        raise ValueError(f"{where} must be true or false, not {_shown(given)}")


def check_option(where: str, given: Any, known: Sequence[Any]) -> None:
    """Whether an argument is one of the known values.

    Raises:
        ValueError: it is not.
    """
    if given not in known:
        raise ValueError(f"{where} is {given!r}; use one of {', '.join(map(str, known))}")


def _shown(given: Any) -> str:
    return f"the text {given!r}" if isinstance(given, str) else repr(given)
