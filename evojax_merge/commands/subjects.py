"""What ``evojax-merge evaluate`` measures: checkpoints, recipes and the winners of runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from evojax_merge import api
from evojax_merge.checkpoints import (
    Checkpoint,
    default_parts,
    load,
    load_config,
    take_parts,
    with_carriers,
)
from evojax_merge.documents.terminal import announce_imports
from evojax_merge.recipes.coefficients import RECIPE_FILE
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.report.run_files import CONFIG_FILE


class Subject(NamedTuple):
    """A model that is measured.

    Attributes:
        given: What the user called it; of what is on disk, the absolute path.
        recipe: The recipe that it is built by; None of a checkpoint.
        run: The directory of the run that it is the winner of, if it is one.
        name: What tables call it; None for the name that its directory has.
    """

    given: str
    recipe: Path | None
    run: Path | None
    name: str | None


def subjects_of(models: Sequence[str]) -> list[Subject]:
    """What is measured, by names that tell all of it apart.

    Args:
        models: Directories, single files, hub ids, recipes and directories of runs.

    Raises:
        ValueError: There is none, or one is named twice.
    """
    if not models:
        raise ValueError("give a model to evaluate: a directory, a hub id, a recipe or a run")
    found = []
    for model in models:
        path = Path(model).expanduser().absolute()
        run = path if (path / CONFIG_FILE).is_file() else None
        if (path / "config.json").exists():
            run = None
        is_recipe = path.is_file() and path.suffix != ".safetensors"
        recipe = path / RECIPE_FILE if run else path if is_recipe else None
        given = str(path) if path.exists() else model
        found.append(Subject(given, recipe, run, recipe.stem if recipe else None))
    twice = [one.given for one in found if [other.given for other in found].count(one.given) > 1]
    if twice:
        raise ValueError(f"{twice[0]}: is named twice; name each model once")
    if len(found) == 1:
        return found
    names = _told_apart([_parts(one) for one in found])
    return [one._replace(name=name) for one, name in zip(found, names, strict=True)]


def _parts(one: Subject) -> tuple[str, ...]:
    """The parts of what a model is called by, the last of which says most."""
    if one.recipe is None:
        return tuple(one.given.strip("/").split("/"))
    if one.recipe.name == RECIPE_FILE:
        return one.recipe.parent.parts[1:]
    return one.recipe.with_suffix("").parts[1:]


def _told_apart(every: Sequence[tuple[str, ...]]) -> list[str]:
    """The last parts of each, as many as tell it from all others."""
    for count in range(1, 1 + max(map(len, every))):
        names = ["/".join(parts[-count:]) for parts in every]
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {'/'.join(parts)}" for number, parts in enumerate(every, start=1)]


def check_subject(one: Subject, carriers: Mapping[str, str]) -> None:
    """Read what can be read of a model without its weights.

    Raises:
        ValueError: The checkpoint or the recipe is missing or malformed.
    """
    if one.recipe is None:
        _checkpoint(one.given, carriers)
    else:
        load_recipe(one.recipe)


def open_subject(
    one: Subject,
    carriers: Mapping[str, str],
    dtype: str | None,
    *,
    force: bool,
    trust: bool,
    console: Console,
) -> Any:
    """The model, or the path of a data-flow recipe, which is run as in a search.

    Args:
        one: What is measured.
        carriers: What single parts of a checkpoint come from instead.
        dtype: The dtype to compute in, of a checkpoint.
        force: Whether checkpoints may have changed since a recipe was made.
        trust: Whether what a recipe names from outside this package may be run.
        console: Where that is said.

    Raises:
        ValueError: The checkpoint or the recipe cannot be used.
    """
    if one.recipe is None:
        return load(_checkpoint(one.given, carriers), dtype)
    recipe = load_recipe(one.recipe)
    if trust:
        announce_imports(console, api.foreign_operators(recipe))
    if isinstance(recipe, PathRecipe):
        return api.route(recipe, trust_operator=trust, force=force)
    return api.merge(one.recipe, trust_operator=trust, force=force)


def _checkpoint(source: str, carriers: Mapping[str, str]) -> Checkpoint:
    """What is measured of a checkpoint, with parts from elsewhere where they are named."""
    whole = load_config(source)
    chosen = take_parts(whole, default_parts(whole))
    if not carriers:
        return chosen
    others = {part: load_config(path) for part, path in carriers.items()}
    return with_carriers(chosen, others, [chosen])
