"""The text of a model card."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from evojax_merge import __version__
from evojax_merge.cards.markdown import code, table
from evojax_merge.checkpoints.directory import hub_id
from evojax_merge.operators.factories import PREFIX
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.recipes.portable import ingredients_of
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.results import Result, TaskScore, interval_text
from evojax_merge.sources.baked import split_baked

_MOST_ROWS = 200
"""How many rows of coefficients a card has."""

UNNAMED = "evolve"
"""The name of experiments to which nobody gave one."""

MADE = f"This model is a merge, made with evojax-merge {__version__}."


def models(recipe: Recipe | PathRecipe) -> str:
    """What was merged: each model with its part in it, and how it is known again."""
    roles: dict[str, str] = {}
    names: dict[str, str] = {}
    if recipe.base is not None:
        roles[recipe.base.path] = "base"
    if isinstance(recipe, Recipe):
        for one, name in zip(recipe.sources, _names(recipe), strict=True):
            names.setdefault(one.path, name)
            roles.setdefault(one.path, "source")
        for part, one in recipe.carriers.items():
            roles.setdefault(one.path, f"carries {code(part)}")
    rows = [
        (
            names.get(one.path, model(one.path)),
            roles.get(one.path, "source"),
            code((one.sha256 or "–")[:16]),
        )
        for one in ingredients_of(recipe)
    ]
    return table(("model", "role", "sha256 of its weights"), rows, 3)


def coefficients(recipe: Recipe) -> str:
    """How strongly each source has a part in each segment of the model."""
    rows = list(_coefficients(recipe))
    shared = all(value.ndim == 1 for value in recipe.coefficients.values())
    heads = ["all sources"] if shared else _names(recipe)
    text = table(("segment", "coefficient", *heads), rows[:_MOST_ROWS], 2)
    if len(rows) > _MOST_ROWS:
        text += f"\n\n{len(rows) - _MOST_ROWS} more rows are in the recipe."
    return text


def _coefficients(recipe: Recipe) -> Iterator[Sequence[str]]:
    shared = all(value.ndim == 1 for value in recipe.coefficients.values())
    for place, segment in enumerate(recipe.segments):
        for name, values in recipe.coefficients.items():
            own = np.atleast_1d(values[..., place])
            cells = [f"{value:.4g}" for value in own]
            if len(cells) == 1 and not shared:  # one for all
                cells += ["〃"] * (len(recipe.sources) - 1)
            yield code(segment.label), code(name), *cells


def path(recipe: PathRecipe) -> str:
    """The layers in the order in which they run."""
    rows = [
        (str(number), code(hop.model), str(hop.layer), f"{hop.scale:.4g}")
        for number, hop in enumerate(recipe.hops)
    ]
    text = table(("position", "model", "layer", "scale of its input"), rows[:_MOST_ROWS], 2)
    if len(rows) > _MOST_ROWS:
        text += f"\n\n{len(rows) - _MOST_ROWS} more layers are in the recipe."
    return text


def operator(recipe: Recipe) -> str:
    """By what was merged, and how it was set."""
    name = recipe.operator.removeprefix(PREFIX)
    text = f"Operator: {code(name.rpartition('/')[2])}"  # of a file of one's own, without where
    if recipe.arguments:
        text += f" with {code(json.dumps(recipe.arguments, default=str))}"
    text += f"; seed {recipe.seed}"
    return f"{text}; rounded to {code(recipe.dtype)}." if recipe.dtype else f"{text}."


def results(found: Sequence[Result]) -> str:
    """How methods compared on the items that are furthest from the search."""
    shown = [one for one in found if one.split == found[0].split]
    first = shown[0]
    head = ["method", first.head, "95 % interval"]
    for name, task in first.tasks.items():
        head += [f"{code(name)}: {task.measure.head}", "95 % interval"]
    rows = []
    for one in shown:
        cells = [code(one.name)]
        scores: list[Result | TaskScore] = [one, *one.tasks.values()]
        for score in scores:
            cells += [score.measure.text(score.score), interval_text(score) or "–"]
        rows.append(cells)
    lines = [f"Larger is better, on {first.counted}.", "", table(head, rows, 1)]
    if chosen := [code(one.name) for one in shown if one.chosen_on_these_items]:
        lines += [
            "",
            f"{', '.join(chosen)}: chosen by results on items among these, so that the score is "
            "too high, which the interval does not count for.",
        ]
    return "\n".join(lines)


def local_models(sources: Sequence[str]) -> str:
    """Which models are known by a directory alone, which says nothing to others."""
    names = []
    for source in sources:
        baked = split_baked(source)
        plain = [source] if baked is None else [baked.model, baked.lora]
        names += [code(Path(one).name) for one in plain if hub_id(one) is None]
    if not names:
        return ""
    return (
        f"Known by a directory alone: {', '.join(dict.fromkeys(names))}. To rebuild the merge "
        "elsewhere, write where they are into the file below that describes it."
    )


def joined(parts: Mapping[str, str]) -> str:
    """The sections of a card by their titles; those without a text are left out."""
    return "\n".join(f"## {title}\n\n{text}\n" for title, text in parts.items() if text)


def title(recipe: Recipe | PathRecipe | WeightsRecipe) -> str:
    """What a card calls a merge: by the experiment's name, where it has one, or by its sources."""
    given = recipe.notes.get("experiment")
    if isinstance(given, str) and given not in ("", UNNAMED):
        return code(given)
    if not isinstance(recipe, Recipe) or len(recipe.sources) > 4:
        return "A merge"
    *names, last = _names(recipe)
    return f"A merge of {', '.join(names)} and {last}" if names else f"A merge of {last}"


def model(source: str) -> str:
    """A model as people know it: by its id on the hub, or else by the name of its directory."""
    found = hub_id(source)
    if found is not None:
        return code(found.name)
    baked = split_baked(source)
    if baked is None:
        return code(Path(source).name)
    return code(f"{Path(baked.model).name}+{Path(baked.lora).name}:{baked.strength:g}")


def _names(recipe: Recipe) -> list[str]:
    """What the sources are called: by their ids on the hub, or else as the run called them."""
    given = recipe.notes.get("source_names")
    usable = isinstance(given, list) and len(given) == len(recipe.sources)
    own = given if usable and isinstance(given, list) else [None] * len(recipe.sources)
    return [
        code(name) if isinstance(name, str) and hub_id(one.path) is None else model(one.path)
        for one, name in zip(recipe.sources, own, strict=True)
    ]
