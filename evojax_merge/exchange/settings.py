"""Values of mergekit's parameters: constants, gradients over layers, and choices by tensor name.

A parameter is a number, a list of numbers (a gradient: the first is for the first layer of a
slice, the last for the last, the others evenly between), or a list of ``{filter, value}``, of which
the first whose ``filter`` is a part of the tensor's name counts. ``*``, or no filter, is every
tensor. The semantics are those of mergekit 0.1.5, ``mergekit/config.py``. Values that it takes for
others (``'True'``, ``'0.5'``, 4.0 for 4) are taken so here, and noted.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from evojax_merge.documents.arguments import LARGEST
from evojax_merge.documents.nearest import nearest
from evojax_merge.exchange.errors import ExchangeError

Kind = Literal["float", "int", "bool"]
Value = float | int | bool


class Rule(NamedTuple):
    """The values of the tensors that a filter matches: one value, or a gradient."""

    filter: str | None
    values: tuple[Value, ...]

    def matches(self, tensor: str) -> bool:
        """Tell whether the rule is about the tensor of this name."""
        return self.filter in (None, "*") or str(self.filter) in tensor

    def at(self, t: float) -> Value:
        """Return the value of a layer, for 0 (the first of a slice) <= t <= 1 (the last).

        Numbers are interpolated. Of two switches the one before is taken.
        """
        last = len(self.values) - 1
        place = t * last
        index = int(place)
        if isinstance(self.values[0], bool):
            return self.values[index]
        part = place - index
        return (1 - part) * self.values[index] + part * self.values[min(last, index + 1)]


Setting = tuple[Rule, ...]
Settings = Mapping[str, Setting]
"""Settings by the name of the parameter."""


def parse_setting(given: Any, kind: Kind, where: str, notes: list[str] | None = None) -> Setting:
    """Read the value of one parameter.

    Args:
        given: The value as the YAML has it.
        kind: The kind of the parameter's values.
        where: The key's place in the file, for messages.
        notes: The list, if any, that gains a text for every value that is taken for another.

    Raises:
        ExchangeError: The value is none of this kind.
    """
    notes = [] if notes is None else notes
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list):
        return (Rule(None, (value(given, kind, where, notes),)),)
    if not given:
        raise ExchangeError(f"{where}: is an empty list; give at least one value")
    if not any(isinstance(entry, Mapping) for entry in given):
        return (Rule(None, _values(given, kind, where, notes)),)
    return tuple(_rule(entry, kind, f"{where}[{i}]", notes) for i, entry in enumerate(given))


def find(scopes: Iterable[Settings], name: str, tensor: str) -> Rule | None:
    """Find the rule that decides a parameter of one tensor, or None where there is none.

    Args:
        scopes: The settings, the most particular first. Those without a matching rule leave it to
            the next.
        name: The name of the parameter.
        tensor: The tensor's name in its checkpoint.
    """
    for scope in scopes:
        for rule in scope.get(name, ()):
            if rule.matches(tensor):
                return rule
    return None


def value(given: Any, kind: Kind, where: str, notes: list[str]) -> Value:
    """Read one number or switch as mergekit does.

    Args:
        given: The value as the YAML has it.
        kind: The kind that is wanted.
        where: The value's place in the file, for messages.
        notes: The list that gains a text if the value is taken for another.

    Raises:
        ExchangeError: The value is none of this kind.
    """
    found = _switch(given, where) if kind == "bool" else _number(given, kind, where)
    # YAML reads 1e-5 as text, and 1 may stand for 1.0.
    exponent = isinstance(given, str) and "e" in given.lower()
    plain = kind == "float" and (exponent or type(given) is int)
    if type(given) is not type(found) and not plain:
        notes.append(f"{where}: {given!r} is taken as {found!r}")
    return found


def _rule(entry: Any, kind: Kind, where: str, notes: list[str]) -> Rule:
    if not isinstance(entry, Mapping):
        raise ExchangeError(
            f"{where}: {entry!r} stands beside entries with filters; give it as `value: {entry!r}`"
        )
    for key in entry:
        if key not in ("filter", "value"):
            raise ExchangeError(f"{where}: unknown key {key}{nearest(key, ('filter', 'value'))}")
    if "value" not in entry:
        raise ExchangeError(f"{where}: lacks value")
    pattern = entry.get("filter")
    if pattern is not None and not isinstance(pattern, str):
        raise ExchangeError(f"{where}.filter: {pattern!r} is no text")
    held = entry["value"]
    given = held if isinstance(held, list) else [held]
    if not given:
        raise ExchangeError(f"{where}.value: is an empty list; give at least one value")
    return Rule(pattern, _values(given, kind, f"{where}.value", notes))


def _values(given: list[Any], kind: Kind, where: str, notes: list[str]) -> tuple[Value, ...]:
    return tuple(value(one, kind, where, notes) for one in given)


_SWITCHES = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}


def _switch(given: Any, where: str) -> bool:
    if isinstance(given, str) and given.lower() in _SWITCHES:
        return _SWITCHES[given.lower()]
    if isinstance(given, bool | int | float) and given in (0, 1):
        return bool(given)
    raise ExchangeError(f"{where}: {given!r} must be true or false")


def _number(given: Any, kind: Kind, where: str) -> float | int:
    wanted = "a finite number" if kind == "float" else "a whole number"
    try:
        if isinstance(given, bool) or not isinstance(given, int | float | str):
            raise ValueError
        number = float(given)
    except (ValueError, OverflowError):
        raise ExchangeError(f"{where}: {given!r} must be {wanted}") from None
    if not abs(number) <= LARGEST:
        raise ExchangeError(f"{where}: {given!r} must be {wanted}")
    if kind == "int":
        if number != int(number):
            raise ExchangeError(f"{where}: {given!r} must be {wanted}")
        return int(number)
    return number
