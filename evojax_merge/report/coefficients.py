"""A recipe as a small table: its sources by their coefficients, or its path."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from rich.table import Table

from evojax_merge.documents.terminal import cell
from evojax_merge.params.types import Float
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import Hop, PathRecipe
from evojax_merge.recipes.weights import WeightsRecipe

_COLUMNS = 6
"""How many columns of numbers a table has at most; where there would be more, ranges stand."""

_HOPS = 40
"""How many stretches of a path are shown at most."""


def recipe_tables(
    recipe: Recipe | PathRecipe | WeightsRecipe, name: str = "evolved"
) -> Iterator[Table]:
    """The tables that show what a recipe merges, and how strongly.

    Args:
        recipe: The recipe. That of weights themselves has nothing to show.
        name: What the merge is called.
    """
    if isinstance(recipe, Recipe):
        yield _coefficients(recipe, name)
    elif isinstance(recipe, PathRecipe):
        for member, one in recipe.pool.items():
            if isinstance(one, Recipe):
                yield _coefficients(one, member)
        yield _path(recipe, name)


def _coefficients(recipe: Recipe, name: str) -> Table:
    """The sources by coefficients, each of a segment; or its range over the segments."""
    sources = names_of(recipe)
    operator = recipe.operator.replace(":", ".").rpartition(".")[2]
    segments, count = recipe.segments, len(recipe.segments)
    full = count * len(recipe.coefficients) <= _COLUMNS
    title = f"{name}: {operator}"
    if not full:
        title += f"; of {count} segments the least – the largest (mean)"
    table = Table(title=cell(title), title_justify="left")
    table.add_column("source", overflow="fold")
    own: list[list[str]] = [[] for _ in sources]
    common: list[str] = []
    called_by = [segment.name for segment in segments]
    if len(set(called_by)) < count:  # as of blocks of layers
        called_by = [segment.label for segment in segments]
    for key, values in recipe.coefficients.items():
        labels = called_by if full and count > 1 else [""]
        for label in labels:
            table.add_column(cell(f"{key}, {label}" if label else key), justify="right")
        each = values.ndim == 2
        texts = [_texts(row, full) for row in (values if each else values[None])]
        for row, source in zip(own, range(len(sources)), strict=True):
            row += texts[source] if each else ["–"] * len(labels)
        common += ["–"] * len(labels) if each else texts[0]
    for called, row in zip(sources, own, strict=True):
        if set(row) != {"–"}:
            table.add_row(cell(called), *map(cell, row))
    if set(common) != {"–"}:
        table.add_row(cell("all sources"), *map(cell, common))
    return table


def _texts(values: Float[np.ndarray, " segments"], full: bool) -> list[str]:
    if full:
        return [f"{value:.3g}" for value in values]
    low, high, mean = values.min(), values.max(), values.mean()
    return [f"{low:.3g} – {high:.3g} ({mean:.3g})" if low < high else f"{low:.3g}"]


def names_of(recipe: Recipe) -> list[str]:
    """What the sources of a recipe are called: as its notes say, or by their paths."""
    noted = recipe.notes.get("source_names")
    if isinstance(noted, list) and len(noted) == len(recipe.sources):
        return [str(one) for one in noted]
    return [source.path.rstrip("/").rpartition("/")[2] for source in recipe.sources]


def _path(recipe: PathRecipe, name: str) -> Table:
    """The path, one row for each stretch of layers that follow one another in a model."""
    title = f"{name}: a path of {len(recipe.hops)} layers through {len(recipe.pool)} models"
    table = Table(title=cell(title), title_justify="left")
    for column in ("model", "layers", "scale"):
        table.add_column(cell(column), overflow="fold")
    stretches = list(_stretches(recipe.hops))
    for stretch in stretches[:_HOPS]:
        first, last = stretch[0], stretch[-1]
        layers = str(first.layer) if len(stretch) == 1 else f"{first.layer} – {last.layer}"
        (scale,) = _texts(np.array([hop.scale for hop in stretch]), False)
        table.add_row(cell(first.model), cell(layers), cell(scale))
    if len(stretches) > _HOPS:
        table.add_row(cell(f"and {len(stretches) - _HOPS} more"), cell(""), cell(""))
    return table


def _stretches(hops: Sequence[Hop]) -> Iterator[list[Hop]]:
    """Stretches of hops through layers of one model that follow one another."""
    numbered = enumerate(hops)
    for _, group in itertools.groupby(
        numbered, lambda pair: (pair[1].model, pair[1].layer - pair[0])
    ):
        yield [hop for _, hop in group]
