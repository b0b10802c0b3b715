"""Prompts that somebody wants to see drawn, outside of any task."""

from collections.abc import Sequence
from pathlib import Path

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text
from evojax_merge.fitness.data import DataError, Record, read_jsonl
from evojax_merge.fitness.drawing.items import Item, items_of


def given_prompts(prompts: Sequence[str], negative: str = "", seed: int = 0) -> tuple[Item, ...]:
    """Make items of prompts, with seeds as in `read_prompts`.

    Raises:
        DataError: A prompt is empty or no text, or there is none.
    """
    records = [Record("prompts", n, {"prompt": one}) for n, one in enumerate(prompts, start=1)]
    if not records:
        raise DataError("prompts: there is none; give at least one")
    return items_of(records, "prompt", "", negative, seed)


def read_prompts(path: str | Path, negative: str = "", seed: int = 0) -> tuple[Item, ...]:
    """Read prompts from a text file, one a line, or from JSON Lines as a task's data.

    Args:
        path: The file; JSON Lines end in ``.jsonl``.
        negative: The negative prompt of those that have none of their own.
        seed: The seed of the first line, if it has none of its own. The next line has the next
            number.

    Raises:
        DataError: The file is missing, or holds no prompt.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        return items_of(read_jsonl(path), "prompt", "", negative, seed)
    try:
        lines = read_text(path).splitlines()
    except DocumentError as error:
        raise DataError(f"{path}: {error}") from None
    records = [
        Record(str(path), number, {"prompt": line.strip()})
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not records:
        raise DataError(f"{path}: holds no prompt; write one a line")
    return items_of(records, "prompt", "", negative, seed)
