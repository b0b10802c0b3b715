"""The world of the images experiment: a coloured handwritten digit, somewhere in a picture.

A prompt names the digit and its colour. Its place and its hand are not named.
"""

from typing import Literal, NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from evojax_merge.params.types import Float, Int
from experiments.images.words import COLOURS

SIDE = 16
"""The height and width of a picture in pixels."""

STEP = 2
"""A digit begins at a multiple of so many pixels, which makes 25 places."""

Hand = Literal["draw", "judge"]
"""Who learns from a handwritten digit: models that draw, or the judge of their pictures."""

_DIGITS = load_digits()
_ROWS = np.arange(len(_DIGITS.target))
ROWS: dict[Hand, np.ndarray] = {"draw": _ROWS[_ROWS % 2 == 0], "judge": _ROWS[_ROWS % 2 == 1]}
"""The written digits of each, none of which is in both."""


class Pictures(NamedTuple):
    """Pictures with numbers from 0 to 1, and what they show."""

    pixels: Float[np.ndarray, "batch channels height width"]
    colours: Int[np.ndarray, " batch"]
    digits: Int[np.ndarray, " batch"]


def pictures(rng: np.random.Generator, count: int, hand: Hand) -> Pictures:
    """Draw random pictures.

    Args:
        rng: The source of all numbers.
        count: How many there are.
        hand: Whose digits they show.
    """
    rows = rng.choice(ROWS[hand], count)
    colours = rng.integers(len(COLOURS), size=count)
    corners = rng.integers((SIDE - 8) // STEP + 1, size=(count, 2)) * STEP
    pixels = np.zeros((count, 3, SIDE, SIDE), np.float32)
    for picture, row, colour, (top, left) in zip(pixels, rows, colours, corners, strict=True):
        rgb = np.array(COLOURS[colour].rgb)[:, None, None]
        picture[:, top : top + 8, left : left + 8] = rgb * _DIGITS.images[row] / 16
    return Pictures(pixels, colours, _DIGITS.target[rows])
