"""What a run has kept in its directory, as far as it can be read.

A report is made of runs that go on, were stopped or damaged, too. What cannot be read is left out,
and the report says so.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from evojax_merge.documents.files import read_text
from evojax_merge.documents.json_text import load_json, load_object
from evojax_merge.documents.yaml_text import load_yaml
from evojax_merge.recipes.coefficients import RECIPE_FILE, Recipe
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.curves import FILE as CURVE
from evojax_merge.report.examples import Examples
from evojax_merge.report.front import FILE as FRONT
from evojax_merge.report.front import Front
from evojax_merge.report.items import FILE as ITEMS
from evojax_merge.report.items import Items, load_items
from evojax_merge.report.jobs import kept_overrides
from evojax_merge.report.results import Result, load_results
from evojax_merge.report.run_files import CONFIG_FILE, HISTORY_FILE, PROVENANCE_FILE, RESULTS_FILE
from evojax_merge.report.searches import Searches
from evojax_merge.search.history import read_history
from evojax_merge.search.lock import holder

_Read = TypeVar("_Read")


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a run has kept.

    Attributes:
        directory: Its directory.
        state: ``finished``, ``running`` or ``stopped``.
        config: Its configuration; empty where that cannot be read.
        config_text: The text of that.
        overrides: What it was asked for.
        searches: What its searches are.
        history: Every candidate.
        results: All results, those of the split that methods are compared on first.
        recipe: The recipe of the winner.
        front: The front.
        curve: The winner's curve on held-out items.
        examples: What methods answered.
        items: The result of every item, by split and method.
        sessions: What it was worked on with, when.
        problems: What could not be read, and why.
    """

    directory: Path
    state: str
    config: Mapping[str, Any]
    config_text: str
    overrides: Sequence[str]
    searches: Searches | None
    history: Sequence[Mapping[str, Any]]
    results: Sequence[Result]
    recipe: Recipe | PathRecipe | WeightsRecipe | None
    front: Front | None
    curve: Sequence[Mapping[str, Any]]
    examples: Examples | None
    items: Items
    sessions: Sequence[Mapping[str, Any]]
    problems: Sequence[str]

    @property
    def compared(self) -> list[Result]:
        """The results of all methods on the split that they are compared on."""
        return [
            one
            for one in self.results
            if one.split == self.results[0].split and not one.name.startswith("front ")
        ]


def read_run(directory: Path, finished: bool = False, history: bool = True) -> Kept:
    """Read what a run has kept.

    Args:
        directory: Its directory.
        finished: Whether it is known to have finished, by whoever holds its lock.
        history: Whether its candidates are read.
    """
    problems: list[str] = []

    def read(file: str, function: Callable[[Path], _Read], otherwise: _Read) -> _Read:
        if not (directory / file).is_file():
            return otherwise
        try:
            return function(directory / file)
        except (ValueError, OSError, yaml.YAMLError, LookupError, TypeError) as error:
            problems.append(f"{file} is left out: {error}")
            return otherwise

    text = read(CONFIG_FILE, read_text, "")
    config = read(CONFIG_FILE, lambda path: load_yaml(text), None)
    results: list[Result] = read(RESULTS_FILE, load_results, [])
    recipe = read(RECIPE_FILE, load_recipe, None) if results or finished else None
    if finished or (results and recipe):
        state = "finished"
    else:
        state = "running" if holder(directory) else "stopped"
    return Kept(
        directory,
        state,
        config if isinstance(config, Mapping) else {},
        text,
        kept_overrides(directory),
        read("searches.json", lambda path: Searches.load(directory), None),
        read(HISTORY_FILE, lambda path: list(read_history(path)), []) if history else [],
        results,
        recipe,
        read(FRONT, lambda path: Front.load(directory), None) if results else None,
        read(CURVE, _points, []) if results else [],
        read("examples.json", lambda path: Examples.load(directory), None) if results else None,
        load_items(directory / ITEMS) if results else {},
        read(PROVENANCE_FILE, _sessions, []),
        problems,
    )


def _sessions(path: Path) -> list[dict[str, Any]]:
    found = load_object(read_text(path)).get("sessions")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("holds no list of sessions")
    return found


def _points(path: Path) -> list[dict[str, Any]]:
    """The points of a curve, each with the numbers that it needs."""
    rows = load_json(read_text(path))
    if not isinstance(rows, list):
        raise ValueError("is no list of points")
    for row in rows:
        costs = (row["evaluations"], row["item_evaluations"], row["seconds"])
        if not all(isinstance(one, int | float) for one in costs) or not isinstance(
            row["heldout"], int | float | None
        ):
            raise ValueError("a point has no numbers")
    return rows
