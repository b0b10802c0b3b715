"""Carrying out recipes."""

from pathlib import Path

from evojax_merge import operators
from evojax_merge.checkpoints import Model, export
from evojax_merge.documents.files import irregular
from evojax_merge.exchange.pipeline_recipes import apply_to_files
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.recipes.execution import Terms, model_of, route_of
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.sources.evidence import FOLDER as EVIDENCE
from evojax_merge.sources.pool import Route


def merge(
    recipe: Recipe | PathRecipe | WeightsRecipe | str | Path,
    *,
    trust_operator: bool = False,
    force: bool = False,
    use_cache: bool = True,
) -> Model:
    """Build the model that a recipe describes, the same to the bit every time.

    Args:
        recipe: A recipe of any kind, or the path of one.
        trust_operator: Whether an operator may come from outside this package; its code is run.
        force: Whether checkpoints may have changed since the recipe was made.
        use_cache: Whether what operators compute of whole tensors is kept for the next time, in
            `evojax_merge.operators.statistics.cache.default_directory`, and taken from there.

    Returns:
        The model. A data-flow recipe gives a plain model with a layer for each hop, into whose
        weights the scales are absorbed.

    Raises:
        RecipeError: The recipe is malformed or does not fit its models, its checkpoints have
            changed since, or its operator is not to be trusted. No weights were read.
        CheckpointError: A checkpoint is missing or damaged.
        ValueError: The data of an operator that asks for evidence is missing or has changed; or
            plain weights cannot express the scales of a path.
    """
    kept = None
    if not isinstance(recipe, Recipe | PathRecipe | WeightsRecipe):
        kept = _kept_evidence(Path(recipe).parent)
        recipe = load_recipe(recipe)
    terms = Terms(trust_operator, force, use_cache, kept)
    return model_of(recipe, terms)


def apply(
    recipe: str | Path,
    directory: str | Path,
    *,
    trust_operator: bool = False,
    force: bool = False,
    overwrite: bool = False,
) -> Path:
    """Build the model that a recipe describes and write it, as `merge` and `export` do.

    Weighted sums of pipelines of Stable Diffusion go from file to file, a piece at a time, in
    little memory.

    Args:
        recipe: The path of a recipe of any kind.
        directory: The directory of the export, or ``NAME.safetensors`` for a pipeline in one file.
        trust_operator: Whether an operator may come from outside this package; its code is run.
        force: Whether checkpoints may have changed since the recipe was made.
        overwrite: Whether to replace what is there.

    Raises:
        RecipeError: `merge` refuses the recipe.
        CheckpointError: A checkpoint is missing or damaged, or `export` refuses the directory.
        ValueError: See `merge`.
    """
    read = load_recipe(recipe)
    terms = Terms(trust_operator, force, True, None)
    if isinstance(read, Recipe) and (done := apply_to_files(read, directory, terms, overwrite)):
        return done
    model = merge(recipe, trust_operator=trust_operator, force=force)
    return export(model, directory, overwrite=overwrite)


def _kept_evidence(directory: Path) -> Path | None:
    """The folder of evidence beside a recipe, which is read and added to; None if there is none.

    Raises:
        RecipeError: The folder is elsewhere, where a stranger's link would have files written, or
            it holds what is no file.
    """
    folder = directory / EVIDENCE
    if not folder.is_dir():
        return None
    if not folder.resolve().is_relative_to(directory.resolve()):
        raise RecipeError(
            f"{folder}: leads out of the recipe's directory, and evidence would be written there; "
            "put a folder in the place of the link, or remove it"
        )
    check_regular(folder)
    return folder


def check_regular(directory: Path) -> None:
    """Raise if a directory holds what is no file, which opening could hang on.

    Raises:
        RecipeError: It does.
    """
    if found := irregular(directory):
        raise RecipeError(f"{found[0]}: is no regular file; replace it by one, or remove it")


def route(
    recipe: PathRecipe,
    *,
    trust_operator: bool = False,
    force: bool = False,
    use_cache: bool = True,
    kept: Path | None = None,
) -> Route:
    """The pool of a data-flow recipe, loaded, and the path through it.

    Args:
        recipe: The recipe.
        trust_operator: Whether an operator may come from outside this package; its code is run.
        force: Whether checkpoints may have changed since the recipe was made.
        use_cache: Whether what operators compute of whole tensors is kept, and taken from there.
        kept: The folder that keeps evidence, if any.

    Raises:
        RecipeError: The recipe is malformed or does not fit its models, its checkpoints have
            changed since, or its operator is not to be trusted.
        CheckpointError: A checkpoint is missing or damaged.
    """
    return route_of(recipe, Terms(trust_operator, force, use_cache, kept))


def foreign_operators(recipe: Recipe | PathRecipe | WeightsRecipe) -> list[str]:
    """The factories from outside this package that carrying out a recipe would import and call."""
    if isinstance(recipe, WeightsRecipe):
        return []
    members = recipe.pool.values() if isinstance(recipe, PathRecipe) else [recipe]
    found = [
        name
        for member in members
        if isinstance(member, Recipe)
        for name in operators.foreign_operators(member.operator, member.arguments)
    ]
    return list(dict.fromkeys(found))
