"""A choice among operators for each part of a model, which a search or a recipe makes."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    spread,
)
from evojax_merge.params.types import Array, Float

OPERATOR = "operator"
"""The name of the coefficient that chooses."""


def choice(options: Mapping[str, Operator]) -> Operator:
    """Whichever of several operators the coefficient ``operator`` names, in each part of the model.

    The option's index is the whole part of ``operator``, which runs from 0 to the number of
    options. So CMA-ES moves on a line (list like beside like), and a genetic algorithm picks
    evenly. In ``space.fixed`` an option is given by its name, which mixes operators:
    ``fixed: {mlp: {operator: ties}, attention: {operator: slerp}}``. The other coefficients are
    those of all options; options that have one of the same name share it.

    Every option is computed and one is taken, element by element, in the same pass over memory.

    Args:
        options: The operators to choose from, by name, in the order of their indices.

    Raises:
        ValueError: There are fewer than two options, one is no operator or a choice itself, no
            number of sources suits them all, a coefficient of one name is per source in one and
            common in another, or one asks for evidence.
    """
    if not isinstance(options, Mapping):
        raise ValueError(f"choice: options must be operators by name, not {options!r}")
    if len(options) < 2:
        raise ValueError(f"choice: give at least two options, got {len(options)}")
    for name, option in options.items():
        if not isinstance(option, Operator):
            raise ValueError(f"choice: {name} is {option!r}; give an operator")
        if any(coefficient.name == OPERATOR for coefficient in option.coefficients):
            raise ValueError(f"choice: {name} is a choice itself; give its options here")
        if option.evidence is not None:
            raise ValueError(
                f"choice: {name} asks for {option.evidence.kind} evidence, which is collected for "
                "an operator that is used alone"
            )
    least = max(option.sources[0] for option in options.values())
    limits = [option.sources[1] for option in options.values() if option.sources[1] is not None]
    most = min(limits, default=None)
    if most is not None and most < least:
        raise ValueError(
            f"choice: one option needs {least} sources, another takes {most} at most; no number of "
            "sources suits both"
        )
    chosen = tuple(options.values())

    def placed(number: Any) -> Any:
        """The index of the option."""
        return jnp.clip(jnp.floor(number).astype(jnp.int32), 0, len(chosen) - 1)

    def init(base: Leaf | None, sources: tuple[Source, ...], layered: bool) -> tuple[Any, ...]:
        return tuple(option.init(base, sources, layered) for option in chosen)

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[Any, ...],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        place = placed(coefficients[OPERATOR])
        merged: Array | None = None
        for index, (option, known) in enumerate(zip(chosen, statistics, strict=True)):
            own = {c.name: coefficients[c.name] for c in option.coefficients}
            leaf = option.merge(base, sources, own, known, key)
            if merged is None:
                merged = leaf
            else:
                merged = jnp.where(spread(place, leaf.ndim) == index, leaf, merged)
        assert merged is not None
        return merged

    def conflict(values: Mapping[str, float]) -> str | None:
        if OPERATOR not in values:
            return None
        return chosen[int(placed(values[OPERATOR]))].conflict(values)

    def reconcile(coefficients: Coefficients) -> Coefficients:
        place = placed(coefficients[OPERATOR])
        for index, option in enumerate(chosen):
            own = option.reconcile({c.name: coefficients[c.name] for c in option.coefficients})
            coefficients = coefficients | {
                name: jnp.where(place == index, value, coefficients[name])
                for name, value in own.items()
            }
        return coefficients

    return Operator(
        name="choice",
        coefficients=(
            Coefficient(
                OPERATOR,
                0.0,
                float(len(options)),
                len(options) / 2,
                per_source=False,
                description="which option: its whole part is the index",
                labels=tuple(options),
                domain=(0.0, float(len(options))),
            ),
            *_shared(options),
        ),
        init=init,
        merge=merge,
        needs_base=any(option.needs_base for option in chosen),
        sources=(least, most),
        random=any(option.random for option in chosen),
        conflict=conflict,
        reconcile=reconcile,
    )


def _shared(options: Mapping[str, Operator]) -> list[Coefficient]:
    found: dict[str, Coefficient] = {}
    for name, option in options.items():
        for one in option.coefficients:
            other = found.setdefault(one.name, one)
            if other.per_source != one.per_source:
                raise ValueError(
                    f"choice: {one.name} of {name} is "
                    f"{'per source' if one.per_source else 'common to all sources'}, and of "
                    "another option it is not; these two cannot be mixed"
                )
            found[one.name] = other._replace(
                lower=min(one.lower, other.lower),
                upper=max(one.upper, other.upper),
                domain=(max(one.domain[0], other.domain[0]), min(one.domain[1], other.domain[1])),
            )
    return list(found.values())
