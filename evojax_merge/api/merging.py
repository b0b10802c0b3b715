"""Carrying out recipes, and merging by an operator at given coefficients."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from evojax_merge import exchange, operators
from evojax_merge.cards import described, described_merge
from evojax_merge.checkpoints import Model, export
from evojax_merge.documents.files import irregular
from evojax_merge.exchange import is_mergekit
from evojax_merge.exchange.pipeline_recipes import apply_to_files
from evojax_merge.recipes.coefficients import RECIPE_FILE, Recipe, RecipeError
from evojax_merge.recipes.constant import constant_recipe, with_hashes
from evojax_merge.recipes.execution import Terms, model_of, route_of
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.sources.evidence import FOLDER as EVIDENCE
from evojax_merge.sources.pool import Route

AnyRecipe = Recipe | PathRecipe | WeightsRecipe


@overload
def merge(
    recipe: AnyRecipe | str | Path,
    *,
    trust_operator: bool = ...,
    force: bool = ...,
    use_cache: bool = ...,
) -> Model: ...


@overload
def merge(
    recipe: str,
    sources: Sequence[str | Path],
    base: str | Path | None = ...,
    *,
    weights: float | Sequence[float] | None = ...,
    seed: int = ...,
    dtype: str | None = ...,
    parts: Sequence[str] | None = ...,
    trust_operator: bool = ...,
    use_cache: bool = ...,
    **settings: Any,
) -> Model: ...


def merge(
    recipe: AnyRecipe | str | Path,
    sources: Sequence[str | Path] | None = None,
    base: str | Path | None = None,
    *,
    weights: float | Sequence[float] | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    parts: Sequence[str] | None = None,
    trust_operator: bool = False,
    force: bool = False,
    use_cache: bool = True,
    **settings: Any,
) -> Model:
    """Build the model of a recipe, or merge models by an operator at given coefficients.

    Either gives the same to the bit every time::

        merge("recipe.yaml")
        merge("ties", ["DIR", "DIR"], "BASE", weights=[0.5, 0.3], density=0.4)

    Args:
        recipe: A recipe of any kind, or the path of one; with sources, the name of an operator.
        sources: The directories or hub ids of what an operator merges.
        base: The directory or hub id of their common ancestor; most operators need it.
        weights: The operator's coefficient ``weight``: a number, or one for each source.
        seed: The seed of an operator's random masks; by default 0.
        dtype: The type of the merged parameters; by default, that of the base.
        parts: The parts that are merged, where models consist of parts.
        trust_operator: Whether an operator may come from outside this package; its code is run.
        force: Whether checkpoints may have changed since the recipe was made.
        use_cache: Whether what operators compute of whole tensors is kept for the next time, in
            `evojax_merge.operators.statistics.cache.default_directory`, and taken from there.
        settings: Further coefficients of the operator, each a number or one for each source, and
            arguments of its factory, such as ``normalize``. A coefficient that is not given has the
            value at which searches start.

    Returns:
        The model, with its recipe. A data-flow recipe gives a plain model with a layer for each
        hop, into whose weights the scales are absorbed.

    Raises:
        RecipeError: The recipe is malformed or does not fit its models, its checkpoints have
            changed since, or its operator is not to be trusted; or the operator takes no such
            settings. No weights were read.
        CheckpointError: A checkpoint is missing or damaged.
        ValueError: The data of an operator that asks for evidence is missing or has changed; or
            plain weights cannot express the scales of a path.
    """
    if sources is not None:
        if not isinstance(recipe, str):
            raise RecipeError(f"sources: go with the name of an operator, not with {recipe!r}")
        if isinstance(sources, str | Path):
            raise RecipeError(f"sources is {str(sources)!r}; give a list of checkpoints")
        described, found = constant_recipe(
            recipe,
            settings if weights is None else {"weight": weights, **settings},
            list(map(str, sources)),
            None if base is None else str(base),
            seed=seed or 0,
            dtype=dtype,
            parts=parts,
            trust_operator=trust_operator,
        )
        model = model_of(described, Terms(trust_operator, force, use_cache, None))
        return dataclasses.replace(model, recipe=with_hashes(described, found))
    given = {"base": base, "weights": weights, "seed": seed, "dtype": dtype, "parts": parts}
    stray = [key for key, value in {**given, **settings}.items() if value is not None]
    if stray:
        raise RecipeError(
            f"{', '.join(stray)}: go with the name of an operator and its sources; what a recipe "
            "says is changed in the recipe"
        )
    if isinstance(recipe, str) and recipe in operators.FACTORIES and not Path(recipe).exists():
        raise RecipeError(f"{recipe} is an operator; give the models that it merges as sources")
    kept = None
    if isinstance(recipe, str | Path):
        kept = _kept_evidence(Path(recipe).parent)
        recipe = load_recipe(recipe)
    model = model_of(recipe, Terms(trust_operator, force, use_cache, kept))
    return dataclasses.replace(model, recipe=recipe)


def apply(
    recipe: str | Path,
    directory: str | Path,
    *,
    trust_operator: bool = False,
    force: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    strict: bool = False,
) -> Path:
    """Build the model that a recipe or a YAML of mergekit describes, and write it.

    A recipe is carried out as by `merge` and `export`; but weighted sums of pipelines of Stable
    Diffusion go from file to file, a piece at a time, in little memory. So do all merges of
    mergekit.

    The recipe and a model card are written beside the weights, or into the one file.

    Args:
        recipe: The path of a recipe of any kind, of a run, whose winner it is, or of a YAML of
            mergekit.
        directory: The directory of the export, or ``NAME.safetensors`` for a pipeline in one file.
        trust_operator: Whether an operator may come from outside this package; its code is run.
        force: Whether checkpoints may have changed since the recipe was made.
        overwrite: Whether to replace what is there.
        seed: The seed of random masks, for a YAML of mergekit; a recipe has its own.
        strict: Whether to refuse what would be warned of, for a YAML of mergekit; a recipe is
            always read so.

    Raises:
        RecipeError: `merge` refuses the recipe.
        ExchangeError: The YAML of mergekit, or how it fits the models, is not supported.
        CheckpointError: A checkpoint is missing or damaged, or `export` refuses the directory.
        ValueError: See `merge`.
    """
    if Path(recipe).is_dir():
        recipe = Path(recipe) / RECIPE_FILE
    if is_mergekit(recipe):
        return apply_mergekit(recipe, directory, seed=seed, overwrite=overwrite, strict=strict)
    read = load_recipe(recipe)
    terms = Terms(trust_operator, force, True, None)
    if isinstance(read, Recipe):
        describe = functools.partial(described, read, target=directory)
        if done := apply_to_files(read, directory, terms, overwrite, describe):
            return done
    model = merge(recipe, trust_operator=trust_operator, force=force)
    beside = described(read, model, directory)
    return export(model, directory, overwrite=overwrite, extra=beside)


def apply_mergekit(
    file: str | Path,
    directory: str | Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    strict: bool = False,
) -> Path:
    """Run a YAML of mergekit, and write a model card and the YAML beside the weights.

    Args:
        file: The path of the YAML.
        directory: The directory of the merged checkpoint.
        seed: The seed of random masks, which the YAML does not hold.
        overwrite: Whether to replace what the directory holds.
        strict: Whether to refuse what would be warned of.

    Raises:
        ExchangeError: The YAML, or how it fits the models, is not supported. No weights were read
            but those of earlier documents.
        CheckpointError: A checkpoint is missing or damaged.
    """
    describe = functools.partial(described_merge, name=Path(directory).name, seed=seed)
    return exchange.apply_mergekit(
        file, directory, seed=seed, overwrite=overwrite, strict=strict, describe=describe
    )


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


def foreign_operators(recipe: AnyRecipe) -> list[str]:
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
