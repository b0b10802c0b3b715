"""What a measure of the user's own gave, as the numbers that were announced."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evojax_merge.documents.errors import named, shown
from evojax_merge.documents.nearest import nearest
from evojax_merge.params.types import Float


class AnswerError(ValueError):
    """A function gave something else than was announced."""


def numbers_of(given: Any, wanted: Mapping[str, int], key: str) -> Float[np.ndarray, " numbers"]:
    """The numbers of all objectives, one after another; nan where one is not finite.

    Args:
        given: A number, a list of numbers, or a mapping of objectives to either.
        wanted: How many numbers each objective has. A single one without a name has the name "".
        key: The configuration's key of the task, with which keys begin in messages.

    Raises:
        AnswerError: That is not what was given.
    """
    names = list(wanted)
    if names == [""]:
        if isinstance(given, Mapping):
            listed = ",".join(map(str, given))
            raise AnswerError(
                f"gives a mapping of {listed}; name those that count, as "
                f"'{key}.objectives=[{listed}]'"
            )
        return _numbers(given, wanted[""], "", f"say {key}.items=COUNT")
    if not isinstance(given, Mapping):
        raise AnswerError(
            f"gives {_kind(given)}, and {key}.objectives has names; give a mapping of "
            f"{', '.join(names)}, or leave the key out"
        )
    for name in names:
        if name not in given:
            listed = ", ".join(map(named, given)) or "nothing"
            raise AnswerError(f"gives no {named(name)}{nearest(name, given)}; it gives {listed}")
    parts = [
        _numbers(
            given[name],
            count,
            f" for {named(name)}",
            f"say '{key}.objectives={{{name}: COUNT}}', with all names",
        )
        for name, count in wanted.items()
    ]
    return np.concatenate(parts)


def _numbers(given: Any, count: int, what: str, advice: str) -> Float[np.ndarray, " numbers"]:
    try:
        found = np.asarray(given)
    except (ValueError, TypeError):
        found = np.empty((), object)
    if found.ndim > 1 or found.dtype.kind not in "biuf":
        raise AnswerError(f"gives {_kind(given)}{what}; give a number, or a list of numbers")
    found = np.atleast_1d(found)
    if len(found) != count:
        there, wanted = _count(len(found)), _count(count)
        raise AnswerError(
            f"gives {there}{what}, and {wanted} {'is' if count == 1 else 'are'} announced; "
            + advice.replace("COUNT", str(len(found)))
        )
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = found.astype(np.float32)
    return np.where(np.isfinite(numbers), numbers, np.float32(np.nan))


def _count(number: int) -> str:
    return f"{number} number{'s' * (number != 1)}"


def _kind(given: Any) -> str:
    if isinstance(given, Sequence) and not isinstance(given, str | bytes) and len(given) > 3:
        return f"a {type(given).__name__} of {len(given)}"
    return "nothing (None)" if given is None else shown(given)
