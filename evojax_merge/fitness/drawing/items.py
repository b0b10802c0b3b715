"""The prompts of a task, each with the number that fixes the noise of its picture."""

from collections.abc import Sequence
from typing import NamedTuple

from evojax_merge.documents.errors import shown
from evojax_merge.fitness.data import DataError, Record

SEEDS = 2**32
"""How many different numbers fix the noise of a picture."""


class Item(NamedTuple):
    """A picture to draw.

    Attributes:
        record: Where it is described.
        prompt: What it is to show.
        negative: What guidance leads away from.
        seed: The number that fixes the noise that it begins with.
    """

    record: Record
    prompt: str
    negative: str
    seed: int


def items_of(
    records: Sequence[Record], prompt: str, prefix: str, negative: str, seed: int
) -> tuple[Item, ...]:
    """Read the items of a split.

    Args:
        records: The lines.
        prompt: The field of the prompt.
        prefix: The text before every prompt.
        negative: The negative prompt of the items that have none of their own.
        seed: The seed of the first line of a file, if it has none of its own. The next line has the
            next number.

    Raises:
        DataError: A line has no prompt, or a seed or a negative prompt that is none.
    """
    return tuple(
        Item(
            record,
            prefix + _prompt(record, prompt),
            negative if record.fields.get("negative") is None else record.text("negative"),
            _seed(record, seed),
        )
        for record in records
    )


def _prompt(record: Record, field: str) -> str:
    text = record.text(field)
    if not text.strip():
        raise DataError(f"{record.place}: field {field!r} is empty; say what the picture shows")
    return text


def _seed(record: Record, first: int) -> int:
    given = record.fields.get("seed")
    if given is None:
        return (first + record.line - 1) % SEEDS
    if type(given) is not int or not 0 <= given < SEEDS:
        raise DataError(
            f"{record.place}: field 'seed' is {shown(given)}; give a whole number from 0 to "
            "2**32 - 1, or leave it out"
        )
    return given
