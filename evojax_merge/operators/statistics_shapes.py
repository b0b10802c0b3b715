"""The shapes of what operators' ``init`` computes, of leaves that are known by their shapes alone.

``init`` is run on tiny leaves of several proportions. Each side of what it gives is then the rule
that fits them all: a number, a side of the leaf, or the least or the product of some. A rule that
fits the tiny leaves fits the large one.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from evojax_merge.operators.base import Operator
from evojax_merge.params.low_rank import Adapted, LowRank, Unchanged

_LAYERS = (2, 3, 5)
_SIDES = ((7, 13, 1, 1), (29, 3, 2, 2), (5, 31, 3, 3), (4, 4, 2, 2))
"""Sides of the tiny leaves, of which the third and fourth are those of a kernel."""

_Shape = tuple[int, ...]
_Rule = Callable[[_Shape], int]


def shapes_of(
    operator: Operator,
    base: Any,
    sources: Sequence[Any],
    layered: bool,
    evidence: Sequence[Any] | None = None,
) -> Any:
    """Find the shapes of the statistics of a leaf.

    Args:
        operator: The operator whose ``init`` computes them.
        base: The leaf of the base, as a shape, if there is one.
        sources: The leaf of each source, as a shape, or as what is added to the base.
        layered: Whether the leaf is stacked.
        evidence: The evidence of each source for the leaf, where the operator asks for some: a
            shape, or None.

    Raises:
        ValueError: No rule fits a side.
    """
    shape = tuple(sources[0].shape)
    probes = list(_probes(shape, layered))
    found = [_init(operator, base, sources, layered, evidence, probe) for probe in probes]
    rules = list(_rules(len(shape), layered, len(sources)))

    def scaled(*arrays: Any) -> jax.ShapeDtypeStruct:
        sides = zip(*(np.shape(array) for array in arrays), strict=True)
        return jax.ShapeDtypeStruct(
            tuple(_side(operator, rules, probes, one, shape) for one in sides),
            np.asarray(arrays[0]).dtype,
        )

    return jax.tree.map(scaled, *found)


def _side(
    operator: Operator, rules: Sequence[_Rule], probes: Sequence[_Shape], seen: _Shape, real: _Shape
) -> int:
    if len(set(seen)) == 1:
        return seen[0]
    for rule in rules:
        if all(rule(probe) == side for probe, side in zip(probes, seen, strict=True)):
            return rule(real)
    raise ValueError(
        f"{operator.name}: the size of its statistics cannot be told from shapes alone; a side "
        f"that is {', '.join(map(str, seen))} for leaves {', '.join(map(str, probes))} fits no rule"
    )


def _probes(shape: _Shape, layered: bool) -> Iterator[_Shape]:
    inner = len(shape) - int(layered)
    for layers, sides in zip((*_LAYERS, 2), _SIDES, strict=True):
        yield ((layers,) if layered else ()) + (sides + (1,) * inner)[:inner]


def _rules(ndim: int, layered: bool, sources: int) -> Iterator[_Rule]:
    first = int(layered)
    for axis in range(ndim):
        yield lambda shape, axis=axis: shape[axis]  # type: ignore[misc]
    if ndim > first:
        yield lambda shape: math.prod(shape[first:])
        for share in (1, sources):
            yield (
                lambda shape, k=share: min(  # type: ignore[misc]
                    shape[first], k * math.prod(shape[first + 1 :])
                )
            )
            yield (
                lambda shape, k=share: min(  # type: ignore[misc]
                    k * shape[first], math.prod(shape[first + 1 :])
                )
            )
        yield lambda shape: math.prod(shape[first + 1 :])
        for axis in range(ndim):
            yield lambda shape, axis=axis: sources * shape[axis]  # type: ignore[misc]
        yield lambda shape: sources * min(shape[first], math.prod(shape[first + 1 :]))


def _init(
    operator: Operator,
    base: Any,
    sources: Sequence[Any],
    layered: bool,
    evidence: Sequence[Any] | None,
    probe: _Shape,
) -> Any:
    draw = np.random.default_rng(0)

    def numbers(shape: _Shape) -> Any:
        return draw.standard_normal(shape).astype(np.float32)

    tiny: Any = None if base is None else numbers(probe)

    def source(leaf: Any) -> Any:
        own = leaf.own if isinstance(leaf, Adapted) else leaf
        if isinstance(own, Unchanged):
            return Adapted(tiny, Unchanged(probe, own.dtype))
        if isinstance(own, LowRank):
            layers, rank = probe[: int(layered)], own.b.shape[-1]
            rows, *inputs = probe[int(layered) :]
            return Adapted(
                tiny,
                LowRank(
                    numbers((*layers, rows, rank)),
                    numbers((*layers, rank, math.prod(inputs))),
                    numbers(layers),
                    tuple(inputs[1:]),
                ),
            )
        return numbers(probe)

    def known(one: Any) -> Any:
        if one is None:
            return None
        squares = operator.evidence is not None and operator.evidence.kind == "gram"
        return np.abs(numbers((*probe[: int(layered)], *probe[-1:] * 2) if squares else probe))

    told = () if evidence is None else (tuple(map(known, evidence)),)
    return operator.init(tiny, tuple(map(source, sources)), layered, *told)
