"""What a configuration says of a coefficient: bounds and a start, or a constant."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evojax_merge.documents.arguments import LARGEST, allowed, within
from evojax_merge.documents.nearest import nearest
from evojax_merge.models import Layout
from evojax_merge.models.segments import Segment
from evojax_merge.operators.base import Coefficient
from evojax_merge.spaces.blocks import leaves_of, stacks_of


def setting_of(
    coefficient: Coefficient, given: Mapping[str, Any]
) -> tuple[float, float, float] | None:
    """Read the bounds and the start of a coefficient that evolves.

    Args:
        coefficient: The coefficient, with its usual bounds and start.
        given: What the configuration says of it.

    Returns:
        The lower bound, the upper bound and the start; None where it does not evolve.

    Raises:
        ValueError: The bounds do not rise or leave the domain, or the start is outside of them.
    """
    where = f"space.coefficients.{coefficient.name}"
    check_known(where, given, ("lower", "upper", "start", "value", "optional"))
    if not isinstance(given.get("optional", False), bool):
        raise ValueError(f"{where}.optional is {given['optional']!r}; give true or false")
    given = {name: value for name, value in given.items() if name != "optional"}
    low, high = coefficient.domain
    if given.get("value") is not None:
        return None
    lower = _number(f"{where}.lower", given.get("lower", coefficient.lower))
    upper = _number(f"{where}.upper", given.get("upper", coefficient.upper))
    if not low <= lower < upper <= high:
        limits = "" if np.isinf([low, high]).all() else f", within [{low}, {high}]"
        raise ValueError(
            f"{where}: bounds [{lower}, {upper}] must rise{limits}; for a constant give value"
        )
    middle = coefficient.default if not given else (lower + upper) / 2
    start = _number(f"{where}.start", given.get("start", middle))
    if not lower <= start <= upper:
        raise ValueError(f"{where}: start {start} is outside the bounds [{lower}, {upper}]")
    return lower, upper, start


def constant_of(
    where: str, coefficient: Coefficient, given: Any, segment: Segment, layout: Layout
) -> float:
    """Read a fixed value: a number, a label, or a gradient taken at the middle of the segment.

    What is in no layer stands with the first layer if it is an embedding, otherwise with the last.

    Args:
        where: What messages call the value.
        coefficient: The coefficient.
        given: The value, as the configuration has it.
        segment: The segment that it is for.
        layout: The layout of the models.

    Raises:
        ValueError: It is none of these, or outside the domain.
    """
    if isinstance(given, str):
        check_known(where, [given], coefficient.labels)
        return coefficient.labels.index(given) + 0.5
    if isinstance(given, Sequence):
        if not given:
            raise ValueError(f"{where}: the list is empty; give at least one number")
        numbers = [_number(where, number) for number in given]
        last = max(segment.stop - 1, segment.first)
        middle = (segment.first + last) / 2
        depth = layout.depth(segment.stack)
        if not stacks_of(segment.groups, layout):
            leaves = leaves_of(segment.groups, layout)
            middle = 0 if all(leaf.place == "first" for leaf in leaves) else last
        elif len(set(numbers)) > 1 and last > 0 and (segment.first, segment.stop) == (0, depth):
            raise ValueError(
                f"{where}: a list runs over the layers, which share one number here; give a "
                "number, or divide them (space=parameter_layers, space.layers_per_block)"
            )
        along = middle / max(depth - 1, 1) * (len(numbers) - 1)
        value = float(np.interp(along, range(len(numbers)), numbers))
    else:
        value = _number(where, given)
    if not within(value, *coefficient.domain):
        raise ValueError(f"{where} must be {allowed(*coefficient.domain)}, not {value}")
    return value


def check_mapping(where: str, given: Any) -> None:
    """Refuse what is no mapping of names.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} is {given!r}; give a mapping, {{NAME: …}}")
    for name in given:
        if not isinstance(name, str):
            raise ValueError(f"{where} has the name {name!r}; give a text, as {{'{name}': …}}")


def _number(where: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(f"{where} is {given!r}; give a number")
    if not within(given, -LARGEST, LARGEST):
        raise ValueError(f"{where} must be {allowed(-math.inf, math.inf)}, not {given}")
    return float(given)


def check_known(
    where: str, given: Mapping | Sequence, known: Mapping | Sequence | set, advice: str = ""
) -> None:
    """Refuse names that are not known, each with the nearest that is.

    Raises:
        ValueError: A given name is not among the known.
    """
    for name in given:
        if name not in known:
            hint = nearest(name, known)
            listed = ", ".join(map(str, known))
            raise ValueError(f"{where}: there is no {name!r}{hint}; there are: {listed}{advice}")
