"""Plain values made typed, or one error that says of every problem where and what it is.

A model is a `Document` whose fields have types of pydantic's, or numbers of this module's `Whole`
and `Number`. Numbers are taken as others write them, so that 2.0 is a whole number; texts, true and
false are no numbers.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from evojax_merge.documents.arguments import allowed
from evojax_merge.documents.errors import named, shown
from evojax_merge.documents.nearest import nearest

_MOST_PROBLEMS = 20
"""How many problems a message lists."""


class Document(pydantic.BaseModel):
    """What is expected of a file, or of a part of it; what else it holds is passed over."""

    model_config = pydantic.ConfigDict(strict=True, extra="ignore", frozen=True)


class Closed(Document):
    """A document of which every key is known, so that another one is a mistake."""

    model_config = pydantic.ConfigDict(extra="forbid")


class Open(Document):
    """A document of which other keys are kept; ``__pydantic_extra__`` says what kind they have."""

    model_config = pydantic.ConfigDict(extra="allow")

    @property
    def others(self) -> dict[str, Any]:
        """What the document holds besides its fields."""
        return self.__pydantic_extra__ or {}


_Document = TypeVar("_Document", bound=Document)


def whole(least: int = 0, most: int = 2**31 - 1) -> pydantic.BeforeValidator:
    """The check that a field holds a whole number within bounds, written as 2 or 2.0."""
    return pydantic.BeforeValidator(functools.partial(_whole, least=least, most=most))


def number(
    least: float = -math.inf, most: float = math.inf, above: float | None = None
) -> pydantic.BeforeValidator:
    """The check that a field holds a finite number within bounds, or above one."""
    return pydantic.BeforeValidator(functools.partial(_number, least=least, most=most, above=above))


def checked(check_fn: Callable[[Any], Any]) -> pydantic.BeforeValidator:
    """The check by a function, which returns the value or raises ValueError(what was wanted)."""
    return pydantic.BeforeValidator(check_fn)


def length(least: int = 0, most: int | None = None) -> Any:
    """The check that a text or a list has so many characters or entries."""
    return pydantic.Field(min_length=least, max_length=most)


def kind(types: type | tuple[type, ...], wanted: str) -> pydantic.BeforeValidator:
    """The check that a field holds a value of some types; true and false are no numbers."""
    return pydantic.BeforeValidator(functools.partial(_kind, types=types, wanted=wanted))


def read(
    model: type[_Document], value: Any, where: str, error: type[ValueError] = ValueError
) -> _Document:
    """Make a plain value a typed one.

    Args:
        model: The document that is expected.
        value: The plain value.
        where: What messages call the value, usually a file.
        error: The exception to raise.

    Raises:
        ValueError: Something is missing or not what was expected; the message lists all of it. The
            exception is of the class ``error``.
    """
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as found:
        problems = list(_problems(found, model))
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [f"… and {len(problems) - _MOST_PROBLEMS} problems more"]
    if len(problems) == 1:
        raise error(f"{where}: {problems[0]}")
    raise error(f"{where}:\n  " + "\n  ".join(problems))


def _problems(found: pydantic.ValidationError, model: type[Document]) -> Iterator[str]:
    for one in found.errors(include_url=False):
        location, kind_, given = one["loc"], one["type"], one["input"]
        key = _key(location)
        if kind_ == "missing":
            yield f"lacks {key}"
        elif kind_ == "extra_forbidden":
            yield f"unknown key {key}{nearest(location[-1], _siblings(model, location))}"
        elif kind_ == "too_short" and not given:
            yield f"{key} is empty"
        else:
            yield f"{key or 'it'} is {shown(given)}; give {_wanted(one)}"


def _wanted(one: Any) -> str:
    context: Mapping[str, Any] = one.get("ctx", {})
    if one["type"] == "value_error":
        return str(context["error"])
    if one["type"] == "literal_error":
        return f"one of {context['expected']}"
    if one["type"] in ("too_short", "too_long"):
        least, most = context.get("min_length"), context.get("max_length")
        return f"at least {least} entries" if most is None else f"at most {most:,} entries"
    return _KINDS.get(one["type"], str(one["msg"]))


_KINDS = {
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "string_too_short": "a text that is not empty",
    "invalid_key": "keys that are texts",
}


def _key(location: Sequence[int | str]) -> str:
    """A place as people write it, ``pool[0].name``; what a stranger named is escaped."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":
            text += f".{named(part)}" if text else named(part)
    return text


def _siblings(model: type[Document], location: Sequence[int | str]) -> list[str]:
    """The names that the document knows at the place of an unknown one."""
    fields = model.model_fields
    for part in location[:-1]:
        if isinstance(part, str) and part in fields:
            inner = fields[part].annotation
            models = [one for one in _annotations(inner) if _is_document(one)]
            fields = models[0].model_fields if models else {}
    return list(fields)


def _annotations(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _annotations(part)


def _is_document(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Document)


def _whole(given: Any, least: int, most: int) -> int:
    if _is_number(given) and least <= given <= most and given == int(given):  # nor NaN
        return int(given)
    raise ValueError(f"a whole number from {least:,} to {most:,}")


def _number(given: Any, least: float, most: float, above: float | None) -> float:
    try:
        value = float(given) if _is_number(given) else math.nan
    except OverflowError:  # a whole number of hundreds of digits
        value = math.inf
    if math.isfinite(value) and least <= value <= most and (above is None or value > above):
        return value
    if above is None:
        raise ValueError(allowed(least, most))
    limit = "" if math.isinf(most) else f" and at most {most:g}"
    raise ValueError(f"a finite number above {above:g}{limit}")


def _kind(given: Any, types: type | tuple[type, ...], wanted: str) -> Any:
    if isinstance(given, types) and (not isinstance(given, bool) or types is bool):
        return given
    raise ValueError(wanted)


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)
