"""The recipe of a winner: its coefficients as tables of heat, and its path as a picture."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import PathRecipe

_STEP, _ROW = 26, 20
_WIDEST = 64
_LEFT, _TOP = 16, 12
_TALLEST = 520
"""The height of a picture of a path, whatever the number of layers."""


class Heat(NamedTuple):
    """A cell of a table.

    Attributes:
        text: The number.
        share: How far it is from 0, as a share of the farthest.
        below: Whether it is below 0.
    """

    text: str
    share: float
    below: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """A coefficient.

    Attributes:
        name: Its name.
        corner: What the rows are.
        columns: The heads of the columns.
        rows: The rows, each with its head.
    """

    name: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Heat]]]


class Step(NamedTuple):
    """A hop in a picture of a path."""

    x: float
    y: float
    colour: int
    model: str
    layer: int
    scale: str
    is_scaled: bool


class Lane(NamedTuple):
    """The layers of a model in a picture of a path."""

    model: str
    colour: int
    y: float
    height: float
    layers: str


@dataclasses.dataclass(frozen=True)
class PathView:
    """A path through the layers of models.

    Attributes:
        steps: Its hops.
        lanes: The models, each with those of its layers that the path may meet.
        scaling: What scales multiply.
    """

    steps: Sequence[Step]
    lanes: Sequence[Lane]
    scaling: str
    width: float
    height: float

    @property
    def line(self) -> str:
        """The points of the path, as SVG has them."""
        return " ".join(f"{one.x:g},{one.y:g}" for one in self.steps)


def coefficients(recipe: Recipe) -> list[Table]:
    """A table for each coefficient; its longer side runs down."""
    names = _names(recipe)
    labels = [segment.label for segment in recipe.segments]
    tables = []
    for name, values in recipe.coefficients.items():
        table = np.atleast_2d(np.asarray(values, np.float64))
        sources = names if len(table) == len(names) else ["all sources"]
        most = float(np.abs(table).max()) or 1.0
        if len(labels) > len(sources):
            table, rows, columns, corner = table.T, labels, sources, "part"
        else:
            rows, columns, corner = sources, labels, "source"
        cells = [
            (
                head,
                [
                    Heat(f"{v:.2f}" if most >= 0.1 else f"{v:.3g}", round(abs(v) / most, 3), v < 0)
                    for v in own
                ],
            )
            for head, own in zip(rows, table, strict=True)
        ]
        tables.append(Table(name, corner, columns, cells))
    return tables


def _heat(value: float, most: float) -> Heat:
    text = f"{value:.2f}" if most >= 0.1 else f"{value:.3g}"
    return Heat(text, round(abs(value) / most, 3), value < 0)


def _names(recipe: Recipe) -> list[str]:
    given = recipe.notes.get("source_names")
    if isinstance(given, list) and len(given) == len(recipe.sources):
        return [str(one) for one in given]
    return [str(one.path).rstrip("/").split("/")[-1] for one in recipe.sources]


def path_view(recipe: PathRecipe) -> PathView:
    """The picture of a path: layers of models from top to bottom, hops from left to right."""
    models = list(recipe.pool)
    met = {name: [hop.layer for hop in recipe.hops if hop.model == name] for name in models}
    rows = {name: max(own, default=0) + 1 for name, own in met.items()}
    squeeze = min(1.0, _TALLEST / (_ROW * max(1, sum(rows.values()))))
    lanes, top = [], float(_TOP)
    begins = {}
    for colour, name in enumerate(models):
        height = max(_ROW * 1.6, rows[name] * _ROW * squeeze)
        layers = f"layers 0–{rows[name] - 1}" if met[name] else "not on the path"
        lanes.append(Lane(name, colour, top, round(height, 1), layers))
        begins[name] = top + _ROW * squeeze / 2
        top += height + 6
    step = max(_STEP, min(_WIDEST, 640 / max(1, len(recipe.hops))))
    steps = [
        Step(
            round(_LEFT + step * (number + 0.5), 1),
            round(begins[hop.model] + hop.layer * _ROW * squeeze, 1),
            models.index(hop.model),
            hop.model,
            hop.layer,
            f"{hop.scale:.3g}",
            abs(hop.scale - 1) > 1e-3,
        )
        for number, hop in enumerate(recipe.hops)
    ]
    width = round(2 * _LEFT + step * max(8, len(steps)), 1)
    return PathView(steps, lanes, recipe.scaling, width, round(top + 6, 1))
