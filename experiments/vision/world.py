"""The world of the vision experiment: pictures of one or two coloured digits, and questions."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from sklearn.datasets import load_digits

from evojax_merge.params.types import UInt8
from experiments.vision.words import (
    COLOURS,
    FRAMES,
    PREDICATES,
    SIDES,
    SUBJECTS,
    THE_ONLY_ONE,
    Kind,
    Language,
    Split,
)

T = TypeVar("T")

SIDE = 32
"""The height and width of a picture in pixels."""

SHIFT = 1
"""How far to the left or right a digit may stand from the middle of its half, in pixels."""

NOISE = 0.04
"""The standard deviation of the noise, where white is 1."""

LONE = 0.2
"""How many of the scenes have one digit."""

KINDS: dict[int, tuple[Kind, ...]] = {
    1: ("number", "colour"),
    2: ("number", "colour", "sum", "larger"),
}
"""The number of digits -> what may be asked."""

_DIGITS = load_digits()
_ORDER = np.random.default_rng(20).permutation(len(_DIGITS.target))
ROWS: dict[Split, np.ndarray] = {
    "train": _ORDER[:1200],
    "search": _ORDER[1200:1400],
    "validation": _ORDER[1400:1500],
    "test": _ORDER[1500:],
}
"""The written digits of each split, none of which is in two of them."""


class Shown(NamedTuple):
    """A digit in a picture: which one, its colour, and the half it is in (0 left, 1 right)."""

    digit: int
    colour: int
    half: int


class Asked(NamedTuple):
    """A question about a scene, in no language yet.

    Attributes:
        scene: One digit, or the left and the right one.
        kind: What is asked.
        which: The place in ``scene`` of the digit that a number or a colour is asked of.
        frame: The places in the tables of subjects and predicates.
    """

    scene: tuple[Shown, ...]
    kind: Kind
    which: int
    frame: tuple[int, int]


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one of the options."""
    return options[int(rng.integers(len(options)))]


def scene(rng: np.random.Generator) -> tuple[Shown, ...]:
    """Draw a scene. Two digits differ, and so do their colours."""
    digits, colours = (rng.choice(count, 2, replace=False) for count in (10, len(COLOURS)))
    both = tuple(Shown(int(digits[half]), int(colours[half]), half) for half in (0, 1))
    return (choose(rng, both),) if rng.random() < LONE else both


def draw(
    rng: np.random.Generator, scene: Sequence[Shown], split: Split
) -> UInt8[np.ndarray, "height width channels"]:
    """Paint a scene with digits of a split, each twice as large as written, somewhere in its half.

    A colour has sixteen levels, which keeps files of pictures small.
    """
    picture = np.zeros((SIDE, SIDE + 2 * SHIFT, 3))
    for shown in scene:
        rows = ROWS[split]
        written = _DIGITS.images[choose(rng, rows[_DIGITS.target[rows] == shown.digit])] / 16
        large = np.kron(written, np.ones((2, 2)))[..., None] * COLOURS[shown.colour].rgb
        top = int(rng.integers(SIDE - 15))
        left = shown.half * SIDE // 2 + int(rng.integers(2 * SHIFT + 1))
        picture[top : top + 16, left : left + 16] += large
    picture = picture[:, SHIFT:-SHIFT]
    picture += rng.normal(0, NOISE, picture.shape)
    return (17 * np.rint(15 * np.clip(picture, 0, 1))).astype(np.uint8)


def ask(
    rng: np.random.Generator, scene: tuple[Shown, ...], split: Split, kind: Kind | None = None
) -> Asked:
    """Draw a question about a scene, of any kind or of the one given."""
    kind = kind or choose(rng, KINDS[len(scene)])
    return Asked(scene, kind, int(rng.integers(len(scene))), choose(rng, FRAMES[split]))


def question(asked: Asked, language: Language) -> str:
    """Write a question in a language."""
    subject, predicate = asked.frame
    lone = len(asked.scene) == 1
    subjects = THE_ONLY_ONE if lone else SUBJECTS[asked.kind]
    side = SIDES[asked.scene[asked.which].half].of(language)
    about = subjects[subject].of(language).format(side=side)
    return PREDICATES[asked.kind][predicate].of(language).format(about)


def answer(asked: Asked, language: Language) -> str:
    """Write the answer in a language; what is asked comes first."""
    return content(asked, language) + ("." if language == "en" else "です。")


def content(asked: Asked, language: Language) -> str:
    """Write what the answer must hold."""
    digits = [shown.digit for shown in asked.scene]
    match asked.kind:
        case "number":
            return str(digits[asked.which])
        case "colour":
            return COLOURS[asked.scene[asked.which].colour].name.of(language)
        case "larger":
            return str(max(digits))
        case "sum":
            return f"{digits[0]}+{digits[1]}={sum(digits)}"


def description(scene: Sequence[Shown], language: Language, form: int) -> str:
    """Tell what a picture shows, in one of two forms, in place of the picture."""
    things = [(COLOURS[shown.colour].name.of(language), shown.digit) for shown in scene]
    if len(things) == 1:
        ((colour, digit),) = things
        english = (f"there is a {colour} {digit}.", f"the number is a {colour} {digit}.")
        japanese = (f"{colour}の{digit}があります。", f"数字は{colour}の{digit}です。")
    else:
        (c, a), (d, b) = things
        english = (
            f"a {c} {a} on the left and a {d} {b} on the right.",
            f"the left number is a {c} {a}, the right number is a {d} {b}.",
        )
        japanese = (
            f"左に{c}の{a}、右に{d}の{b}があります。",
            f"左の数字は{c}の{a}、右の数字は{d}の{b}です。",
        )
    return (english if language == "en" else japanese)[form]
