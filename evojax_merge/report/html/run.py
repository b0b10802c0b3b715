"""The report of a run as a web page."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evojax_merge.fitness.base import Measure
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.examples import Examples
from evojax_merge.report.going_on import (
    command,
    commands,
    further_commands,
    place_of,
    selecting,
    trusting,
)
from evojax_merge.report.html.bars import bars
from evojax_merge.report.html.curves import panels
from evojax_merge.report.html.facts import facts, models, provenance
from evojax_merge.report.html.fronts import front_view
from evojax_merge.report.html.gallery import gallery
from evojax_merge.report.html.kept import Kept, read_run
from evojax_merge.report.html.page import write_page
from evojax_merge.report.html.recipes import coefficients, path_view
from evojax_merge.report.pairs import difference, signed
from evojax_merge.report.results import (
    EVOLVED,
    Result,
    choice_line,
    flaw_line,
    interval_text,
    noise_line,
)
from evojax_merge.report.run_files import EXPORT, neither

_MOST_ANSWERS = 240_000
"""About how many characters of answers a page has."""

_LONGEST_CONFIG = 100_000

_MOST_COMPARED = 24


def write_report(directory: Path, *, finished: bool = False) -> Path:
    """Write the report of a run into its directory, also of one that goes on or was stopped.

    Args:
        directory: The directory of the run.
        finished: Whether it is known to have finished, by whoever holds its lock.

    Returns:
        The page.

    Raises:
        ValueError: The directory holds no run.
        OSError: The page cannot be written.
    """
    kept = read_run(directory, finished)
    if not kept.config_text:
        raise ValueError(neither(directory))
    return write_page("run.html.jinja", directory, **content(kept))


def content(kept: Kept) -> dict[str, Any]:
    """What the page of a run shows."""
    config, compared = kept.config, kept.compared
    started = config.get("working_directory")
    place = place_of(kept.directory, started if isinstance(started, str) else None)
    names = [one.name for one in compared]
    history = [row for row in kept.history if row["search"] == EVOLVED]
    recipe = kept.recipe
    drawn = gallery(kept.directory / "images", names)
    merged = _merged(recipe)
    return {
        "name": str(config.get("name") or kept.directory.name),
        "place": place,
        "started": started,
        "state": kept.state,
        "summary": summary(compared),
        "progress": _progress(kept),
        "facts": facts(kept),
        "models": models(kept),
        "provenance": provenance(kept.sessions),
        "results": compared,
        "results_split": compared[0].split if compared else "",
        "best_score": max(
            (one.score for one in compared if math.isfinite(one.score)), default=None
        ),
        "bars": bars(compared),
        "differences": differences(kept),
        "interval": interval_text,
        "number": _number,
        "remarks": remarks(kept),
        "problems": kept.problems,
        "panels": panels(kept.history, kept.searches, compared, kept.curve),
        "tables": coefficients(merged) if merged else [],
        "path": path_view(recipe) if isinstance(recipe, PathRecipe) else None,
        "weights": isinstance(recipe, WeightsRecipe),
        "front": front_view(kept.front, history, kept.results) if kept.front else None,
        "select": lambda choice: selecting(place, str(choice), *trusting(config)),
        "examples": kept.examples,
        "answer_length": answer_length(kept.examples),
        "score": lambda example, answer: score_text(kept.examples, example, answer),
        "gallery": drawn,
        "commands": [
            *commands(
                place,
                config,
                state=kept.state,
                has_front=kept.front is not None,
                is_exported=(kept.directory / EXPORT).is_dir(),
            ),
            *further_commands(
                place,
                config,
                kept.overrides,
                draws=drawn is not None,
                splits=list(dict.fromkeys(one.split for one in kept.results)),
                has_coefficients=isinstance(recipe, Recipe),
            ),
        ],
        "asked": command("evolve", *kept.overrides) if kept.overrides else "",
        "config": kept.config_text[:_LONGEST_CONFIG],
        "others": [one for one in kept.results if one.name == EVOLVED and one not in compared],
    }


class Summary(NamedTuple):
    """The winner and what it is compared with, in a few numbers."""

    winner: Result
    others: Sequence[tuple[str, Result]]


def summary(results: Sequence[Result]) -> Summary | None:
    """The winner, the best source and the best of all else, where they were measured."""
    own = {one.name: one for one in results}
    if EVOLVED not in own:
        return None
    rest = [one for one in results if one.name != EVOLVED and math.isfinite(one.score)]
    searched = [one for one in rest if one.evaluations or one.name in _PUBLISHED]
    groups = {
        "best of the models": [one for one in rest if one not in searched],
        "best of the baselines": searched,
    }
    best = [(head, max(own, key=lambda one: one.score)) for head, own in groups.items() if own]
    return Summary(own[EVOLVED], best)


_PUBLISHED = ("average", "task_arithmetic", "ties")


def _merged(recipe: Any) -> Recipe | None:
    """The recipe whose coefficients are shown: the winner's, or that of a merge on its path."""
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, PathRecipe):
        return next((one for one in recipe.pool.values() if isinstance(one, Recipe)), None)
    return None


class Progress(NamedTuple):
    """How far a search has come."""

    name: str
    done: int
    of: int


def _progress(kept: Kept) -> list[Progress]:
    """How far the searches of a run that is not finished have come."""
    if kept.state == "finished":
        return []
    done: dict[str, int] = {}
    for row in kept.history:
        done[row["search"]] = done.get(row["search"], 0) + 1
    planned = kept.searches.searches if kept.searches else {}
    return [
        Progress(name, done.get(name, 0), planned[name].evaluations if name in planned else 0)
        for name in dict.fromkeys([*planned, *done])
    ]


def differences(kept: Kept) -> dict[str, str]:
    """How much better the winner is than each other method, item by item, with the interval."""
    own = {one.name: one for one in kept.compared}
    if EVOLVED not in own or len(own) > _MOST_COMPARED:
        return {}
    items = kept.items.get(own[EVOLVED].split, {})
    found = {}
    for name, one in own.items():
        if name == EVOLVED or name not in items or EVOLVED not in items:
            continue
        try:
            apart = difference(own[EVOLVED], items[EVOLVED], one, items[name])
        except ValueError:
            continue
        if math.isfinite(apart.score):
            text = signed(apart.measure, apart.score)
            ends = [signed(apart.measure, end) for end in (apart.low, apart.high)]
            found[name] = f"{text} ({' – '.join(ends)})" if apart.low < apart.high else text
    return found


def remarks(kept: Kept) -> list[str]:
    """What one must know to read the results."""
    compared = kept.compared
    if not compared:
        return []
    lines = [choice_line(compared), flaw_line(compared)]
    won = summary(compared)
    if won is not None:
        splits = [one for one in kept.results if one.name == EVOLVED]
        if len(splits) > 1:
            lines.append(noise_line(splits))
        for head, one in won.others:
            if one.score > won.winner.score:
                measure = won.winner.measure
                lines.append(
                    f"the evolved merge ({measure.text(won.winner.score)}) is below the {head}, "
                    f"{one.name} ({measure.text(one.score)})"
                )
    return [line for line in lines if line]


def answer_length(examples: Examples | None) -> int:
    """How many characters of each answer are shown, so that the page stays small."""
    if examples is None:
        return 0
    answers = sum(len(one.answers) + 1 for one in examples.items)
    return max(120, min(2_000, _MOST_ANSWERS // max(1, answers)))


def score_text(examples: Examples | None, example: Any, answer: Any) -> str:
    """The result of an answer, in the unit that people read."""
    if examples is None or answer.score is None:
        return "–"
    name, unit = examples.measures.get(example.task or "", ("", ""))
    return Measure(name, unit).text(answer.score)


def _number(value: float) -> str:
    """A number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")
