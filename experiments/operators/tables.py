"""The tables of the README, in per cent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from evojax_merge.runs.problem import EVOLVED, RANDOM
from experiments.operators.methods import AVERAGE
from experiments.operators.rows import KEPT, UNTUNED, Row

HEADS = (
    "operator",
    "untuned",
    "evolved",
    "random search",
    "evolved − best untuned",
    "evolved − random search",
)


def table(rows: Sequence[Row]) -> str:
    """One experiment's rows as a table of Markdown.

    The best untuned method by validation is bold. A star marks operators of which validation keeps
    the start in the place of a search's winner, for a seed or more.
    """
    return _markdown([HEADS, ("---",) * len(HEADS), *map(_cells, rows)])


def leads(rows: Sequence[Row]) -> str:
    """How much better evolved task arithmetic is than every untuned method, by experiment."""
    experiments = list(dict.fromkeys(row["experiment"] for row in rows))
    found = {(row["operator"], row["experiment"]): row for row in rows}
    lines = [("untuned method", *experiments), ("---",) * (len(experiments) + 1)]
    for name in dict.fromkeys(row["operator"] for row in rows):
        own = [found.get((name, experiment), {}).get("lead") for experiment in experiments]
        lines.append((_name(name), *("–" if one is None else _difference(one) for one in own)))
    return _markdown(lines)


def tables(rows: Sequence[Row]) -> str:
    """The leads, and the table of every experiment, each below its name."""
    parts = {"evolved task arithmetic − untuned": leads(rows)}
    for experiment, own in groupby(rows, key=lambda row: row["experiment"]):
        parts[experiment] = table(list(own))
    return "\n\n".join(f"{name}\n\n{part}" for name, part in parts.items())


def _cells(row: Row) -> Iterator[str]:
    yield _name(row["operator"])
    untuned = _score(row[UNTUNED])
    yield f"**{untuned}**" if row["best_untuned"] == row["operator"] else untuned
    if EVOLVED not in row:
        yield from "––––"
        return
    star = "" if row[KEPT]["scores"] == row[EVOLVED]["scores"] else " *"
    yield _score(row[EVOLVED]) + star
    yield _score(row[RANDOM])
    yield _difference(row["gain"])
    yield _difference(row["gain_over_random"])


def _markdown(lines: Iterable[Iterable[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _name(operator: str) -> str:
    return "plain average" if operator == AVERAGE else f"`{operator}`"


def _score(found: Mapping[str, Any]) -> str:
    """The score with its interval; of several seeds each, and the mean."""
    ends = f"({100 * found['low']:.1f} – {100 * found['high']:.1f})"
    mean = f"{100 * found['mean']:.1f}"
    if len(found["scores"]) == 1:
        return f"{mean} {ends}"
    return f"{', '.join(f'{100 * one:.1f}' for one in found['scores'])}: {mean} {ends}"


def _difference(found: Mapping[str, float]) -> str:
    mean, low, high = (
        f"{100 * found[key]:+.1f}".replace("-", "−") for key in ("mean", "low", "high")
    )
    return f"{mean} ({low} – {high})"
