"""Merged models, from a recipe or by an operator at fixed values."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from evojax_merge.checkpoints import Checkpoint, Model
from evojax_merge.models.segments import LeafCoefficients, assign, expand
from evojax_merge.operators import (
    Evidence,
    Operator,
    check_coefficients,
    check_sources,
    conflicts,
    constant_coefficients,
    merge,
    published,
)
from evojax_merge.operators.statistics.cache import StatisticsCache
from evojax_merge.params.types import Params
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.sources.ingredients import Ingredients


def merge_recipe(
    recipe: Recipe,
    operator: Operator,
    ingredients: Ingredients,
    evidence: Evidence | None = None,
    cache: StatisticsCache | None = None,
) -> Model:
    """Build the model that a recipe describes.

    Args:
        recipe: The recipe, which says how strongly and where.
        operator: The operator that the recipe names.
        ingredients: The checkpoints that the recipe names.
        evidence: The evidence of each source, where the operator asks for it.
        cache: The place where statistics are kept between runs, if any.

    Raises:
        RecipeError: The recipe does not fit the models or the operator (see `leaf_coefficients`).
        ValueError: A source is the base, and the operator merges task vectors.
    """
    reference = ingredients.reference
    coefficients = leaf_coefficients(recipe, operator, reference)
    ingredients.check_task_vectors(operator, [source.path for source in recipe.sources])
    params = _merged(operator, ingredients, coefficients, recipe.seed, evidence, cache)
    return dataclasses.replace(reference, params=params, dtype=ingredients.dtype)


def leaf_coefficients(
    recipe: Recipe, operator: Operator, reference: Checkpoint | Model
) -> LeafCoefficients:
    """The coefficients of every leaf, for which no weights are needed.

    Args:
        recipe: The recipe, which says how strongly and where.
        operator: The operator that the recipe names.
        reference: The model whose configuration the merge carries.

    Raises:
        RecipeError: The recipe's segments do not fit the model, or its sources or coefficients do
            not fit the operator.
    """
    layout = reference.family.layout(reference.config)
    try:
        check_sources(operator, len(recipe.sources), recipe.base is not None)
        assignment = assign(recipe.segments, layout)
        _check_lengths(recipe, operator)
        coefficients = expand(recipe.coefficients, assignment)
        check_coefficients(operator, coefficients)
    except ValueError as error:
        raise RecipeError(f"the recipe does not fit these models: {error}") from error
    _check_conflicts(recipe, operator, assignment)
    return coefficients


def _check_lengths(recipe: Recipe, operator: Operator) -> None:
    for coefficient in operator.coefficients:
        value = recipe.coefficients.get(coefficient.name)
        wanted = (len(recipe.sources),) if coefficient.per_source else ()
        if value is not None and value.shape[:-1] != wanted:
            raise ValueError(
                f"{coefficient.name} of {operator.name} must be "
                + ("a list of one number for each" if wanted else "one number for all")
                + f" of the {len(recipe.sources)} sources in each segment"
            )


def _check_conflicts(
    recipe: Recipe, operator: Operator, assignment: Mapping[str, np.ndarray]
) -> None:
    for index, segment in enumerate(recipe.segments):
        values = {name: value[..., index] for name, value in recipe.coefficients.items()}
        for source, problem in conflicts(operator, values):
            tensors = [path for path, owner in assignment.items() if np.any(owner == index)]
            more = f" and {len(tensors) - 1} more" if len(tensors) > 1 else ""
            raise RecipeError(
                f"segment {segment.label} ({', '.join(tensors[:1])}{more}), source {source} "
                f"({recipe.sources[source].path}): {problem}; change one of them there"
            )


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
    stacked = ingredients.layout.stacked
    statistics = ingredients.statistics(operator, evidence, cache)

    run = winner_program(operator, ingredients.dtype, frozenset(stacked))
    return run(base, sources, coefficients, statistics, np.uint32(seed))


@functools.lru_cache(maxsize=8)
def winner_program(
    operator: Operator, dtype: np.dtype, stacked: frozenset[str]
) -> Callable[..., Params]:
    """The program that merges by an operator, one for all winners of a run."""

    @jax.jit
    def run(
        base: Params | None, sources: Any, coefficients: Any, statistics: Any, seed: Any
    ) -> Params:
        return merge(
            operator, base, sources, coefficients, statistics, seed, dtype, stacked=stacked
        )

    return run
