"""Charts as coordinates, which templates draw as SVG."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 640, 320
LEFT, TOP, BOTTOM = 52, 14, 44
LABELS = 116
"""The width at the right for labels of levels."""

_LINE = 13.0
"""The least distance of two labels."""

_LONGEST = 18
_MOST_POINTS = 400
_DASH = 8.0
"""The length of a line that has a single point."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """The numbers along an axis and their places.

    Attributes:
        low: The number at ``begin``.
        high: The number at ``end``.
        begin: A place, in units of the picture.
        end: Another place.
    """

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a number."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    @classmethod
    def over(cls, values: Iterable[float], begin: float, end: float, room: float = 0.05) -> "Scale":
        """The scale that shows finite numbers, with a little room around them."""
        finite = [value for value in values if math.isfinite(value)]
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        around = room * (high - low)
        if not high > low:
            around = abs(low) * 0.05 or 0.5
        return cls(low - around, high + around, begin, end)

    @property
    def ticks(self) -> list["Tick"]:
        """Places of round numbers."""
        step = _round((self.high - self.low) / 5)
        first = math.ceil(self.low / step)
        count = math.floor(self.high / step) - first + 1
        places = max(0, -math.floor(math.log10(step)))
        values = [(first + number) * step for number in range(max(0, count))]
        return [Tick(self(value), _number(value, places)) for value in values]


class Tick(NamedTuple):
    """A place on an axis, and the number there."""

    at: float
    text: str


class Line(NamedTuple):
    """A line of a chart.

    Attributes:
        label: What it shows.
        points: Its points, as SVG has them.
        colour: The number of its colour.
        kind: How it is drawn: ``best``, ``mean``, ``heldout`` or ``band``.
    """

    label: str
    points: str
    colour: int
    kind: str


class Level(NamedTuple):
    """A horizontal line of a chart, with its label at the right.

    Attributes:
        label: What it shows.
        value: Its number, as text.
        at: Its place.
        beside: The place of its label.
        strong: Whether it is the one that others are compared with.
    """

    label: str
    value: str
    at: float
    beside: float
    strong: bool

    @property
    def short(self) -> str:
        """The label, as far as there is room."""
        return self.label if len(self.label) <= _LONGEST else f"{self.label[: _LONGEST - 1]}…"


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart of lines.

    Attributes:
        key: The name of the chart in the page.
        title: What it shows.
        across: The scale of x, and its label.
        up: The scale of y, and its label.
        lines: The lines.
        levels: The horizontal lines.
        band: What bands show.
    """

    key: str
    title: str
    across: tuple[Scale, str]
    up: tuple[Scale, str]
    lines: Sequence[Line]
    levels: Sequence[Level] = ()
    band: str = "range of a generation"
    width: int = WIDTH
    height: int = HEIGHT


@dataclasses.dataclass(frozen=True)
class Panel:
    """The charts of what is measured on one scale, one for each kind of cost.

    Attributes:
        title: What is measured.
        charts: The charts by the name of the cost.
    """

    title: str
    charts: Mapping[str, Chart]


def points(across: Scale, up: Scale, xs: Sequence[float], ys: Sequence[float]) -> str:
    """The points of a line; of very many as many as can be told apart, the last among them.

    A single point becomes a short horizontal line that ends there, since a line of one point is not
    drawn.
    """
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
    step = -(-len(pairs) // _MOST_POINTS) or 1
    kept = pairs[::step] + ([pairs[-1]] if pairs and (len(pairs) - 1) % step else [])
    places = [(across(x), up(y)) for x, y in kept]
    if len(places) == 1:
        ((x, y),) = places
        places = [(x - _DASH, y), (x, y)]
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def level_labels(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Places for labels near the given ones, none on another."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    gap = min(_LINE, (bottom - top) / max(1, len(places)))
    found = dict(zip(order, sorted(places), strict=True))
    last = -math.inf
    for number in order:
        found[number] = last = max(found[number], last + gap)
    limit = bottom
    for number in reversed(order):
        found[number] = limit = min(found[number], limit)
        limit -= gap
    return [round(found[number], 1) for number in range(len(places))]


def _round(step: float) -> float:
    """The next of 1, 2, 5, 10, and so on."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * one for one in (1, 2, 5, 10) if step <= power * one * 1.0001)


def _number(value: float, places: int) -> str:
    """A number of an axis, as short as can be."""
    if abs(value) >= 1e6 or (places > 5 and value):
        return f"{value:.3g}"
    return f"{value + 0.0:,.{places}f}".replace(",", " ")
