"""Merged models: from a recipe, or by an operator at fixed values."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax

from evojax_merge.checkpoints import Model
from evojax_merge.ingredients import Ingredients
from evojax_merge.layout import Layout
from evojax_merge.operators import (
    Evidence,
    Operator,
    check_coefficients,
    constant_coefficients,
    init_statistics,
    merge,
    published,
)
from evojax_merge.recipe import Recipe, RecipeError
from evojax_merge.segments import assign, expand
from evojax_merge.statistics_cache import StatisticsCache
from evojax_merge.types import Params


def merge_recipe(
    recipe: Recipe,
    operator: Operator,
    ingredients: Ingredients,
    evidence: Evidence | None = None,
    cache: StatisticsCache | None = None,
) -> Model:
    """Build the model that a recipe describes.

    Args:
        recipe: Says how strongly and where.
        operator: The one the recipe names.
        ingredients: The checkpoints the recipe names.
        evidence: Of each source, where the operator asks for it.
        cache: Where statistics are kept between runs, if anywhere.

    Raises:
        RecipeError: The recipe's segments or coefficients do not fit the models or the operator.
    """
    reference = ingredients.reference
    layout = Layout.of(reference.family, reference.config)
    try:
        coefficients = expand(recipe.coefficients, assign(recipe.segments, layout))
        check_coefficients(operator, coefficients)
    except ValueError as error:
        raise RecipeError(f"the recipe does not fit these models: {error}") from error
    params = _merged(operator, ingredients, coefficients, recipe.seed, evidence, cache)
    return dataclasses.replace(reference, params=params, dtype=ingredients.dtype)


def published_merges(
    ingredients: Ingredients, cache: StatisticsCache | None = None
) -> Iterator[tuple[str, Params]]:
    """The merges that papers recommend when nothing can be tuned, by name."""
    for name, (operator, values) in published().items():
        if operator.needs_base and ingredients.base is None:
            continue
        coefficients = constant_coefficients(
            operator, ingredients.sources[0].params, len(ingredients.sources), **values
        )
        yield name, _merged(operator, ingredients, coefficients, seed=0, cache=cache)


def _merged(
    operator: Operator,
    ingredients: Ingredients,
    coefficients: Any,
    seed: int,
    evidence: Evidence | None = None,
    cache: StatisticsCache | None = None,
) -> Params:
    base = ingredients.base_for(operator)
    sources = ingredients.source_params
    entry = ingredients.statistics_entry(operator, cache)
    statistics = init_statistics(operator, base, sources, evidence, entry)

    @jax.jit
    def run(base: Params | None, sources: Any, coefficients: Any, statistics: Any) -> Params:
        return merge(
            operator, base, sources, coefficients, statistics, seed, dtype=ingredients.dtype
        )

    return run(base, sources, coefficients, statistics)
