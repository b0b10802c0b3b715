"""Recipes that are kept beside an export, and find their models from there."""

import dataclasses
import os
from pathlib import Path

from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.sources.baked import split_baked
from evojax_merge.sources.reference import Ingredient


def ingredients_of(recipe: Recipe | PathRecipe) -> list[Ingredient]:
    """The checkpoints of a recipe, each once: the base, the sources, then what carries parts."""
    every = [recipe.base]
    if isinstance(recipe, Recipe):
        every += [*recipe.sources, *recipe.carriers.values()]
    else:
        for one in recipe.pool.values():
            every += ingredients_of(one) if isinstance(one, Recipe) else [one]
    return list(dict.fromkeys(one for one in every if one is not None))


def moved(one: Ingredient, directory: Path) -> Ingredient:
    """A checkpoint by a path that leads from another directory than this one.

    Absolute paths and ids of the hub stay as they are.

    Args:
        one: The checkpoint, whose path leads from the working directory if it is relative.
        directory: Where its path will lead from.
    """
    baked = split_baked(one.path)
    if baked is None:
        return dataclasses.replace(one, path=_from(one.path, directory))
    model, lora = (_from(path, directory) for path in (baked.model, baked.lora))
    return dataclasses.replace(one, path=str(baked._replace(model=model, lora=lora)))


def moved_recipe(recipe: Recipe, directory: Path) -> Recipe:
    """A recipe with paths that lead from another directory than this one (see `moved`)."""
    return dataclasses.replace(
        recipe,
        base=None if recipe.base is None else moved(recipe.base, directory),
        sources=tuple(moved(one, directory) for one in recipe.sources),
        carriers={name: moved(one, directory) for name, one in recipe.carriers.items()},
    )


def moved_path_recipe(recipe: PathRecipe, directory: Path) -> PathRecipe:
    """A data-flow recipe with paths that lead from another directory (see `moved`)."""
    return dataclasses.replace(
        recipe,
        base=None if recipe.base is None else moved(recipe.base, directory),
        pool={
            name: moved_recipe(one, directory) if isinstance(one, Recipe) else moved(one, directory)
            for name, one in recipe.pool.items()
        },
    )


def _from(path: str, directory: Path) -> str:
    found = Path(path)
    if found.is_absolute() or not found.exists():  # also what is at home, or on the hub
        return path
    return os.path.relpath(found.absolute(), directory.absolute())
