"""A recipe with the same coefficients in all of a model, from an operator and a few numbers."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evojax_merge.documents.arguments import allowed, within
from evojax_merge.documents.nearest import nearest
from evojax_merge.models import Layout
from evojax_merge.models.segments import Segment
from evojax_merge.operators import FACTORIES, Coefficient, Operator, make_operator
from evojax_merge.operators.factories import PREFIX, arguments_of
from evojax_merge.params.types import Float
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.sources.plan import BASE, Plan, plan
from evojax_merge.sources.reference import Ingredient


def constant_recipe(
    operator: str,
    settings: Mapping[str, Any],
    sources: Sequence[str],
    base: str | None = None,
    *,
    seed: int = 0,
    dtype: str | None = None,
    parts: Sequence[str] | None = None,
    trust_operator: bool = False,
) -> tuple[Recipe, Plan]:
    """The recipe of an operator at given coefficients, and the checkpoints as they were found.

    Args:
        operator: The name of an operator of this package, or ``package.module.function``.
        settings: Coefficients of the operator by name, each a number for all sources or a list of
            one for each; and arguments of its factory. A coefficient that is not given has the
            value at which searches start.
        sources: The directories or hub ids of what is merged.
        base: The directory or hub id of the common ancestor.
        seed: The seed of random masks.
        dtype: The type of the merged parameters; by default, that of the base.
        parts: The parts that are merged, where models consist of parts.
        trust_operator: Whether an operator may come from outside this package; its code is run.

    Returns:
        The recipe, in which checkpoints have no hashes yet, and the plan, which can tell them.

    Raises:
        RecipeError: There is no such operator, coefficient or argument, or a value does not fit.
        CheckpointError: A checkpoint is missing or damaged, or checkpoints do not fit each other.
    """
    name = _full_name(operator)
    if not sources:
        raise RecipeError("sources is empty; give at least one checkpoint")
    try:
        known = arguments_of(name, trust=trust_operator)
        arguments = {key: value for key, value in settings.items() if key in known}
        made = make_operator(name, arguments, trust=trust_operator)
    except ValueError as error:
        raise RecipeError(f"operator: {error}") from error
    values = {key: value for key, value in settings.items() if key not in known}
    coefficients = _coefficients(made, values, known, len(sources))
    prepared = plan(base, list(sources), BASE, dtype, parts)
    recipe = Recipe(
        operator=name,
        arguments=arguments,
        base=None if base is None else Ingredient(base),
        sources=tuple(map(Ingredient, sources)),
        segments=(_everything(prepared.reference.family.layout(prepared.reference.config)),),
        coefficients=coefficients,
        seed=seed,
        dtype=dtype,
        reference=prepared.reference_name,
        parts=prepared.reference.parts or None,
    )
    return recipe, prepared


def with_hashes(recipe: Recipe, prepared: Plan) -> Recipe:
    """The recipe with the absolute paths of its checkpoints, and the hashes of their weights."""
    return dataclasses.replace(
        recipe, base=prepared.base_ingredient, sources=prepared.source_ingredients
    )


def _full_name(operator: str) -> str:
    if operator in FACTORIES:
        return PREFIX + operator
    if "." not in operator:
        hint = nearest(operator, FACTORIES)
        raise RecipeError(
            f"operator: there is no {operator!r}{hint}; they are {', '.join(FACTORIES)}"
        )
    return operator


def _coefficients(
    operator: Operator, given: Mapping[str, Any], arguments: Sequence[str], sources: int
) -> dict[str, Float[np.ndarray, "... segments"]]:
    own = {coefficient.name: coefficient for coefficient in operator.coefficients}
    for name in given:
        if name not in own:
            hint = nearest(name, [*own, *arguments])
            takes = [", ".join(names) or "none" for names in (own, arguments)]
            raise RecipeError(
                f"{operator.name} takes no {name}{hint}; its coefficients are {takes[0]}, its "
                f"arguments {takes[1]}"
            )
    return {
        name: _values(f"{name} of {operator.name}", one, given.get(name, one.default), sources)
        for name, one in own.items()
    }


def _values(
    where: str, coefficient: Coefficient, given: Any, sources: int
) -> Float[np.ndarray, "... segments"]:
    try:
        found = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        raise RecipeError(f"{where} is {given!r}; give numbers") from None
    shape = (sources,) if coefficient.per_source else ()
    if found.shape not in ((), shape):
        wanted = f"one number, or a list of {sources}" if shape else "one number for all sources"
        raise RecipeError(f"{where} is {given!r}; give {wanted}")
    least, most = coefficient.domain
    if not all(within(float(number), least, most) for number in found.flat):
        raise RecipeError(f"{where} is {given!r}; it must be {allowed(least, most)}")
    return np.broadcast_to(found, shape)[..., None].copy()


def _everything(layout: Layout) -> Segment:
    """The segment of all leaves, whichever stack they are of."""
    return Segment("all", layout.kinds, 0, layout.depth())
