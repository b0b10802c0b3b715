"""Checks of the arguments that strategies of ours have in common."""

import math
from typing import Any

import numpy as np


def check_whole(name: str, number: Any, least: int) -> int:
    """A whole number that is large enough.

    Raises:
        ValueError: It is not.
    """
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    if not whole or number < least:
        raise ValueError(
            f"strategy.{name} must be a whole number of at least {least}, not {number!r}"
        )
    return int(number)


def check_number(name: str, number: Any, *, positive: bool = False) -> float:
    """A finite number from 0, or above it.

    Raises:
        ValueError: It is not.
    """
    plain = isinstance(number, int | float | np.number) and not isinstance(number, bool)
    least = "above 0" if positive else "at least 0"
    if not plain or not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise ValueError(f"strategy.{name} must be a number, {least}, not {number!r}")
    return float(number)
