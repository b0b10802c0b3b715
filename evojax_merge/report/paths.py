"""Pictures of data-flow merges, which show a path through the layers and how paths changed."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evojax_merge.recipes.path import Hop
from evojax_merge.report.plots import (
    blank_figure,
    colour,
    drawable,
    legend_beside,
    save_figure,
    whole_numbers,
)
from evojax_merge.spaces.dataflow import DataflowSpace

_SCALED = 1e-3
"""A scale that is nearer to 1 than this is not written."""

_MOST_LABELS = 64


def plot_path(hops: Sequence[Hop], layers: Mapping[str, int], path: Path) -> None:
    """Draw the layers of each model against hops, with the scale on each arrow that has one.

    Args:
        hops: The path.
        layers: The number of layers of each model, in the order of the rows.
        path: The PNG that is written.
    """
    first = dict(zip(layers, np.cumsum([0, *layers.values()])[:-1], strict=True))
    rows = np.array([first[hop.model] + hop.layer for hop in hops])
    total = sum(layers.values())
    figure = blank_figure(max(4.0, 1.5 + 0.42 * len(hops)), max(2.5, 1.0 + 0.24 * total))
    axes = figure.add_subplot()
    colours = {name: colour(number) for number, name in enumerate(layers)}
    for name, count in layers.items():
        axes.axhspan(
            first[name] - 0.5, first[name] + count - 0.5, color=colours[name], alpha=0.08, lw=0
        )
    size = 9 if len(hops) <= _MOST_LABELS else 5
    for number, hop in enumerate(hops):
        if number:
            axes.annotate(
                "",
                (number, rows[number]),
                (number - 1, rows[number - 1]),
                arrowprops={"arrowstyle": "->", "color": "0.45", "lw": 0.9, "shrinkA": size / 2},
            )
        if abs(hop.scale - 1) > _SCALED and len(hops) <= _MOST_LABELS:
            middle = (rows[number] + rows[number - 1]) / 2 if number else rows[number]
            axes.text(
                number - 0.5, middle + 0.25, f"{hop.scale:.2f}", ha="center", size=6, color="0.25"
            )
        axes.plot(number, rows[number], "o", color=colours[hop.model], ms=size)
        if len(hops) <= _MOST_LABELS:
            axes.text(
                number,
                rows[number],
                str(hop.layer),
                ha="center",
                va="center",
                size=6,
                color="white",
            )
    axes.set_yticks(
        [first[name] + (count - 1) / 2 for name, count in layers.items()], map(drawable, layers)
    )
    axes.set_ylim(total - 0.5, -0.5)
    axes.set_xlim(-0.7, len(hops) - 0.3)
    axes.set_xlabel("hop")
    axes.set_ylabel("model, layer")
    save_figure(figure, path)


def plot_path_history(
    history: Iterable[Mapping[str, Any]], search: str, space: DataflowSpace, path: Path
) -> None:
    """Draw the length of paths, and the share of hops in each model, over a search's generations.

    Args:
        history: The rows that `evojax_merge.search.history.read_history` gives.
        search: The name of the search whose rows are drawn.
        space: The space that decodes their genotypes.
        path: The PNG that is written.
    """
    generations: dict[int, list[Any]] = {}
    for row in history:
        if row["search"] == search:
            generations.setdefault(row["generation"], []).append(row["genotype"])
    if not generations:
        return
    lengths, shares = [], []
    owners = np.repeat(np.arange(len(space.sources)), space.layers)
    for number in sorted(generations):
        paths, _ = space.decode_all(np.array(generations[number], np.float32))
        on_path = np.arange(space.hops) < paths.length[:, None]
        lengths.append(paths.length)
        owner = owners[paths.layer]
        shares.append([(on_path & (owner == k)).sum() for k in range(len(space.sources))])
    at = np.array(sorted(generations)) + 1  # the history may lack some
    figure = blank_figure(9, 6.4)
    above, below = figure.subplots(2, sharex=True)
    mark = "o" if len(at) == 1 else None
    means = [length.mean() for length in lengths]
    above.plot(at, means, color=colour(0), lw=3, marker=mark, label="mean")
    above.fill_between(
        at,
        [length.min() for length in lengths],
        [length.max() for length in lengths],
        color=colour(0),
        alpha=0.2,
        lw=0,
        label="shortest to longest",
    )
    above.set_ylabel("hops")
    legend_beside(above)
    table = np.array(shares, float)
    table /= np.maximum(table.sum(axis=1, keepdims=True), 1)
    tints = [colour(number) for number in range(len(space.sources))]
    areas = below.stackplot(at, table.T, alpha=0.8, colors=tints)
    below.set_ylabel("share of hops")
    below.set_xlabel("generation")
    below.set_ylim(0, 1)
    whole_numbers(below)
    legend_beside(below, areas, space.sources)  # whatever names begin with
    save_figure(figure, path)
