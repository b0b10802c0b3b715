"""The recipe that a command is given, by itself or by the directory that holds it."""

from pathlib import Path

from evojax_merge.recipes.coefficients import BEST_FILE, RECIPE_FILE


def recipe_file(given: Path) -> Path:
    """The file of a recipe.

    Args:
        given: The file, or the directory of the run or the export that has one.

    Raises:
        ValueError: There is no such file, or the directory has no recipe.
    """
    if not given.exists():
        raise ValueError(f"{given}: is not there; give a recipe, or the directory that has one")
    if not given.is_dir():
        return given
    recipe, best = given / RECIPE_FILE, given / BEST_FILE
    if recipe.exists():
        return recipe
    if best.is_file():
        raise ValueError(f"{given}: has no winner yet; the best so far is {best}")
    raise ValueError(f"{given}: holds no {RECIPE_FILE}; give the directory of a run, or a recipe")
