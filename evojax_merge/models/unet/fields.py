"""Fields of a ``config.json`` of diffusers, checked."""

import math
from collections.abc import Mapping
from typing import Any

Computed = Mapping[str, tuple[Any, ...]]
"""The values of a field that are computed, by its name; the first is that of a silent file."""


def first_refused(
    config: Mapping[str, Any], computed: Computed, lists: Computed
) -> tuple[str, Any, tuple[Any, ...]] | None:
    """Find the first field whose value is not computed: its name, value and known values.

    Args:
        config: The content of ``config.json``.
        computed: The values that are computed of each field. A list of one of them, repeated, is
            that value for every block.
        lists: The entries that are computed of each field that holds a list.
    """
    for name, known in computed.items():
        value = config.get(name, known[0])
        each = value if isinstance(value, list | tuple) and value else [value]
        if not all(_among(own, known) for own in each):
            return name, value, known
    for name, known in lists.items():
        value = config.get(name, [])
        if not isinstance(value, list | tuple) or not all(_among(own, known) for own in value):
            return name, value, known
    return None


def _among(value: Any, known: tuple[Any, ...]) -> bool:
    return any(value == own and isinstance(value, bool) == isinstance(own, bool) for own in known)


def refusal(name: str, value: Any, known: tuple[Any, ...]) -> ValueError:
    """Make the error for a field whose value is not computed."""
    listed = " or ".join("null" if own is None else repr(own) for own in known)
    return ValueError(f"config.json: {name} {value!r} is not supported; supported is {listed}")


def positive(config: Mapping[str, Any], name: str) -> int:
    """Read a positive whole number.

    Raises:
        ValueError: It is none.
    """
    value = config.get(name)
    if type(value) is not int or value < 1:
        raise ValueError(f"config.json: {name} must be a positive whole number; got {value!r}")
    return value


def number(config: Mapping[str, Any], name: str) -> float:
    """Read a finite number from 0 on.

    Raises:
        ValueError: It is none.
    """
    value: Any = config.get(name)
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ValueError(f"config.json: {name} must be a finite number from 0 on; got {value!r}")
    return float(value)


def flag(config: Mapping[str, Any], name: str) -> bool:
    """Read true or false.

    Raises:
        ValueError: It is neither.
    """
    value = config.get(name)
    if type(value) is not bool:
        raise ValueError(f"config.json: {name} must be true or false; got {value!r}")
    return value


def per_block(config: Mapping[str, Any], name: str, count: int) -> tuple[int, ...]:
    """Read a positive whole number for each block, or one for all of them.

    Raises:
        ValueError: It is neither.
    """
    value = config.get(name)
    if not isinstance(value, list | tuple):
        return (positive(config, name),) * count
    if len(value) != count or not all(type(own) is int and own > 0 for own in value):
        raise ValueError(
            f"config.json: {name} must be a positive whole number, or a list of one for each of "
            f"the {count} blocks; got {value!r}"
        )
    return tuple(value)


def channels_of(config: Mapping[str, Any], groups: int) -> tuple[int, ...]:
    """Read the width of each block, which the groups of a norm divide.

    Raises:
        ValueError: There is no list of them, or a width is no multiple of the groups.
    """
    value = config.get("block_out_channels")
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(
            f"config.json: block_out_channels must be a list of whole numbers; got {value!r}"
        )
    found = per_block(config, "block_out_channels", len(value))
    if odd := [width for width in found if width % groups]:
        raise ValueError(
            f"config.json: block_out_channels {odd[0]} is no multiple of norm_num_groups {groups}"
        )
    return found


def sizes(config: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    """Read a height and a width, one number for both, or null.

    Raises:
        ValueError: It is none of these.
    """
    if config.get(name) is None:
        return None
    height, width = per_block(config, name, 2)
    return height, width
