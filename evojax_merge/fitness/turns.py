"""The turns of a chat that items bring, as lists of messages."""

from evojax_merge.documents.errors import shown
from evojax_merge.fitness.chat import Turn
from evojax_merge.fitness.data import DataError, Record

ROLES = ("system", "developer", "user", "assistant", "tool")
FIRST = ("system", "developer")
"""The roles of turns that come before all others."""


def turns_of(record: Record, field: str) -> list[Turn]:
    """The messages of an item, as they are.

    Args:
        record: The item.
        field: The field of the list of messages.

    Raises:
        DataError: It is no list of messages, or the last one is not a user's.
    """
    given = record.field(field)
    where = f"{record.place}: field {field!r}"
    if not isinstance(given, list) or not given:
        raise DataError(
            f"{where} is {shown(given)}; give a list of messages, as "
            '[{"role": "user", "content": "…"}]'
        )
    for number, one in enumerate(given, start=1):
        if not isinstance(one, dict) or one.get("role") not in ROLES:
            role = one.get("role") if isinstance(one, dict) else one
            raise DataError(
                f"{where}, message {number}: the role is {shown(role)}; it must be one of "
                f"{', '.join(ROLES)}"
            )
        if not isinstance(one.get("content"), str):
            raise DataError(
                f"{where}, message {number}: the content is {shown(one.get('content'))}; give a "
                "text"
            )
        if one["role"] in FIRST and number > 1:
            raise DataError(f"{where}, message {number}: a {one['role']} message comes first")
    if given[-1]["role"] not in ("user", "tool"):
        raise DataError(
            f"{where}: the last message is of role {given[-1]['role']!r}; the model answers what a "
            "user says last"
        )
    return [dict(one) for one in given]
