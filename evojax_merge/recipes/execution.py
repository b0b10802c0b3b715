"""A recipe of any kind carried out: its checkpoints are found, checked, loaded and merged."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evojax_merge import operators
from evojax_merge.checkpoints import Checkpoint, Model, load_config, weights_hash
from evojax_merge.operators import Operator
from evojax_merge.operators.statistics.cache import StatisticsCache, default_directory
from evojax_merge.recipes.build import leaf_coefficients, merge_recipe
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.recipes.path import PathRecipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.sources.evidence import collect, prepare
from evojax_merge.sources.ingredients import load_ingredients, load_members
from evojax_merge.sources.plan import Plan, plan, plan_pool
from evojax_merge.sources.pool import Route, make_pool
from evojax_merge.sources.reference import Ingredient


class Terms(NamedTuple):
    """The terms on which a recipe is carried out.

    Attributes:
        trust_operator: Whether an operator may come from outside this package; its code is run.
        force: Whether checkpoints may have changed since the recipe was made.
        use_cache: Whether what operators compute of whole tensors is kept, and taken from there.
        kept: The folder that keeps evidence, if any.
    """

    trust_operator: bool
    force: bool
    use_cache: bool
    kept: Path | None


def model_of(recipe: Recipe | PathRecipe | WeightsRecipe, terms: Terms) -> Model:
    """Build the model that a recipe describes, the same to the bit every time.

    Raises:
        RecipeError: The recipe does not fit its models, its checkpoints have changed since, or its
            operator is not to be trusted. No weights were read.
        CheckpointError: A checkpoint is missing or damaged.
        ValueError: The data of an operator that asks for evidence is missing or has changed; or
            plain weights cannot express the scales of a path.
    """
    if isinstance(recipe, WeightsRecipe):
        reference = load_config(recipe.model.path)
        found = dataclasses.replace(recipe.model, sha256=weights_hash(reference.directory))
        _check_unchanged([recipe.model], [found], terms.force)
        return recipe.build(reference)
    if isinstance(recipe, PathRecipe):
        routed = route_of(recipe, terms)
        return routed.pool.plain(routed.path)
    return _merged(recipe, terms)


def route_of(recipe: PathRecipe, terms: Terms) -> Route:
    """Load the pool of a data-flow recipe, with the path through it.

    Raises:
        RecipeError: The recipe does not fit its models, its checkpoints have changed since, or its
            operator is not to be trusted.
        CheckpointError: A checkpoint is missing or damaged.
    """
    plain = {n: m for n, m in recipe.pool.items() if not isinstance(m, Recipe)}
    base = recipe.base.path if recipe.base else None
    models: dict[str, Model] = {}
    if plain:
        prepared = plan_pool(base, [one.path for one in plain.values()], list(plain), recipe.dtype)
        wanted = [recipe.base if prepared.base else None, *plain.values()]
        found = [prepared.base_ingredient, *prepared.source_ingredients]
        _check_unchanged(wanted, found, terms.force)
        counts = {n: c.config.num_layers for n, c in zip(plain, prepared.wholes, strict=True)}
        recipe.check_hops(counts)
        models = dict(zip(plain, load_members(prepared), strict=True))
    for name, member in recipe.pool.items():
        if isinstance(member, Recipe):
            models[name] = _merged(member, terms)
    names = list(recipe.pool)
    dtype = None if recipe.dtype is None else np.dtype(recipe.dtype)
    pool = make_pool([models[name] for name in names], names, names.index(recipe.skeleton), dtype)
    return Route(pool, recipe.path(dict(zip(names, pool.layers, strict=True))))


def _merged(recipe: Recipe, terms: Terms) -> Model:
    operator, prepared = prepared_for(recipe, terms)
    items = prepare(operator, prepared.reference, len(recipe.sources))
    ingredients = load_ingredients(prepared)
    names = [source.path for source in recipe.sources]
    evidence = collect(operator, items, ingredients.whole_sources(), names, terms.kept)
    cache = StatisticsCache(Path(default_directory())) if terms.use_cache else None
    return merge_recipe(recipe, operator, ingredients, evidence, cache)


def prepared_for(recipe: Recipe, terms: Terms) -> tuple[Operator, Plan]:
    """Make the operator of a recipe, and check the checkpoints that it names.

    Raises:
        RecipeError: The recipe does not fit its models, its checkpoints have changed since, or its
            operator is not to be trusted.
        CheckpointError: A checkpoint is missing or damaged.
    """
    try:
        operator = operators.make_operator(
            recipe.operator, recipe.arguments, trust=terms.trust_operator
        )
    except ValueError as error:
        raise RecipeError(f"operator: {error}") from error
    prepared = plan(
        recipe.base.path if recipe.base else None,
        [source.path for source in recipe.sources],
        recipe.reference,
        recipe.dtype,
        recipe.parts,
        {name: one.path for name, one in recipe.carriers.items()},
    )
    _check_parts(recipe, prepared.reference)
    leaf_coefficients(recipe, operator, prepared.reference)  # refused before weights are read
    wanted = [recipe.base, *recipe.sources, *recipe.carriers.values()]
    if any(one is not None and one.sha256 is not None for one in wanted):  # hashes take seconds
        found = [prepared.base_ingredient, *prepared.source_ingredients]
        found += [prepared.carrier_ingredients[name] for name in recipe.carriers]
        _check_unchanged(wanted, found, terms.force)
    return operator, prepared


def _check_parts(recipe: Recipe, reference: Checkpoint) -> None:
    """Check that a recipe of models that consist of parts says which of them are merged.

    Raises:
        RecipeError: It does not, as none did while such models were merged whole.
    """
    if recipe.parts is None and reference.parts:
        raise RecipeError(
            f"{reference.directory}: consists of parts, and the recipe does not say which are "
            f"merged; search again, or add e.g. parts: [{', '.join(reference.parts)}] to the recipe"
        )


def _check_unchanged(
    wanted: Sequence[Ingredient | None], found: Sequence[Ingredient | None], force: bool
) -> None:
    changed = [
        want.path
        for want, have in zip(wanted, found, strict=True)
        if want is not None
        and have is not None
        and want.sha256 is not None
        and want.sha256 != have.sha256
    ]
    if changed and not force:
        raise RecipeError(
            "these checkpoints are not the ones the recipe was made with (their sha256 differs): "
            + ", ".join(changed)
            + "; use them all the same with force=True (--force)"
        )
