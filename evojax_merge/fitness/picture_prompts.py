"""Prompts that say where their pictures stand."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evojax_merge.checkpoints.directory import member, read_json
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.documents.errors import shown
from evojax_merge.fitness.chat import Content
from evojax_merge.fitness.data import DataError, Record

PLACE = "<image>"
"""What stands for a picture in templates and items."""


def check_places(record: Record, prompt: str, pictures: int) -> None:
    """Check that a prompt has a place for each of its pictures.

    Args:
        record: The item.
        prompt: Its prompt, in which `PLACE` stands for a picture.
        pictures: The number of its pictures.

    Raises:
        DataError: There are fewer places than pictures, or more.
    """
    places = prompt.count(PLACE)
    if places != pictures:
        raise DataError(
            f"{record.place}: the prompt has {_counted(places, 'place')} for "
            f"{_counted(pictures, 'picture')}; write {PLACE} once for each picture in "
            "fitness.template or in the item"
        )


def as_content(prompt: str) -> Content:
    """The parts of a user's turn, as chat templates of models that see take them.

    A line break beside a picture is left out, since templates set their own.
    """
    parts: list[dict[str, str]] = []
    for piece in re.split(f"\n?({PLACE})\n?", prompt):
        if piece == PLACE:
            parts.append({"type": "image"})
        elif piece:
            parts.append({"type": "text", "text": piece})
    return parts


def chat_template_of(directory: Path) -> str | None:
    """The chat template that a processor has beside that of the tokenizer, if there is one.

    Newer releases of transformers keep one for both in ``chat_template.jinja``.

    Raises:
        CheckpointError: ``chat_template.json`` holds no template.
    """
    path = member(directory, "chat_template.json")
    if member(directory, "chat_template.jinja").exists() or not path.exists():
        return None
    template = read_json(path).get("chat_template")
    if not isinstance(template, str):
        raise CheckpointError(f"{path}: chat_template is {shown(template)}; it must be a text")
    return template


def spelled(prompts: Sequence[str], tokenizer: Any, place: Sequence[int]) -> list[str]:
    """Prompts with these tokens, as the tokenizer spells them, in the places of pictures."""
    known = max(place) < len(tokenizer)
    tokens = "".join(tokenizer.convert_ids_to_tokens(list(place))) if known else PLACE
    return [prompt.replace(PLACE, tokens) for prompt in prompts]


def expanded(ids: Sequence[int], token_id: int, counts: Sequence[int], place: str) -> list[int]:
    """Repeat each picture token as often as its picture has features.

    Args:
        ids: The tokens of a prompt, with one picture token for each picture.
        token_id: The picture token.
        counts: The number of features of each picture, in order.
        place: The file and line of the item.

    Raises:
        DataError: There are fewer or more picture tokens than pictures.
    """
    if (found := ids.count(token_id)) != len(counts):
        reason = (
            f"the text of the item, fitness.template or the chat template has the model's picture "
            f"token {token_id} besides; take it out, and write {PLACE} where a picture is"
            if found > len(counts)
            else "the chat template or the tokenizer of the model does not treat "
            f"{PLACE} as the model's picture token {token_id}"
        )
        raise DataError(
            f"{place}: the prompt becomes {_counted(found, 'picture token')} for "
            f"{_counted(len(counts), 'picture')}; {reason}"
        )
    left = iter(counts)
    repeated = [[one] * next(left) if one == token_id else [one] for one in ids]
    return [one for several in repeated for one in several]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)
