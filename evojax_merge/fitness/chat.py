"""Turns of a chat as text, by the template that a model brings.

A template is a program in a small language, written by whoever made the model. transformers runs it
in a sandbox, which keeps it from files and from Python, but not from running for ever or from
filling the memory. So it is run in a process of its own, of limited time and memory.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evojax_merge.documents.errors import shown

SECONDS = 20
"""The seconds that the templates of a task may take; each thousand prompts add one more."""

MEMORY = 2**30
"""The bytes that the process may take beyond those that it begins with."""

_PROGRAM = Path(__file__).with_name("chat_process.py")

_REASONS = {
    "SecurityError": "it reaches for what a template may not",
    "TemplateSyntaxError": "its syntax is wrong",
    "UndefinedError": "it uses what it is not given",
    "TemplateError": "it refuses the prompt",
    "MemoryError": f"it needs more than {MEMORY / 2**30:g} GiB of memory",
}


class ChatTemplateError(ValueError):
    """A chat template that cannot be used."""


Content = str | list[dict[str, str]]
"""What a turn says: a text, or parts of which each has a ``type``, as transformers has them."""

Turn = dict[str, Any]
"""A turn: a ``role``, a ``content``, and what else a template may read."""


class Conversation(NamedTuple):
    """Turns of a chat.

    Attributes:
        turns: The turns.
        open: Whether a new turn of the model begins after them. Otherwise the last turn goes on.
    """

    turns: Sequence[Turn]
    open: bool = True


def as_chats(
    tokenizer: Any, prompts: Sequence[Content], owner: str | Path, template: str | None = None
) -> list[str]:
    """Each prompt as a user's only turn, see `rendered`."""
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    return rendered(tokenizer, chats, owner, template)


def rendered(
    tokenizer: Any,
    chats: Sequence[Sequence[Turn]],
    owner: str | Path,
    template: str | None = None,
) -> list[str]:
    """The turns of each chat as text, up to where the model's answer begins.

    The result equals ``apply_chat_template(chat, tokenize=False, add_generation_prompt=True)``.

    Args:
        tokenizer: The tokenizer, which gives the special tokens.
        chats: The turns of each chat.
        owner: The directory of the tokenizer, or another name for it in messages.
        template: The template; by default, that of the tokenizer.

    Raises:
        ChatTemplateError: There is no template, it fails, takes too long or too much memory, or it
            leaves out the turns of the system or of the assistant.
    """
    others = _changed(chats)
    texts = _texts(tokenizer, [*chats, *(other for _, _, other in others)], owner, template)
    for (role, place, _), text in zip(others, texts[len(chats) :], strict=True):
        if text == texts[place]:
            raise _error(owner, f"it leaves out what the {role} says", len(chats[place]))
    return texts[: len(chats)]


def as_conversations(
    tokenizer: Any, conversations: Sequence[Conversation], owner: str | Path, switch: str
) -> list[str]:
    """Each conversation as text, as lm-evaluation-harness has it.

    What a template refuses with the turn of the system goes without it, and what it leaves out is
    not looked for.

    Args:
        tokenizer: The tokenizer, which gives the special tokens and the template.
        conversations: The conversations.
        owner: The directory of the tokenizer, or another name for it in messages.
        switch: The key that asks for conversations.

    Raises:
        ChatTemplateError: There is no template, or it fails, takes too long or too much memory.
    """
    chats = [one.turns for one in conversations]
    try:
        return _texts(tokenizer, chats, owner, None, [one.open for one in conversations])
    except ChatTemplateError as error:
        said, _, _ = str(error).partition("fitness.chat=false")
        raise ChatTemplateError(f"{said}{switch}=false") from None


def _changed(chats: Sequence[Sequence[Turn]]) -> list[tuple[str, int, list[Turn]]]:
    """For each role besides the user's: it, the first chat that has it, and that chat changed.

    A template that gives the same text for both leaves the role's turns out.
    """
    found = []
    for role in ("system", "assistant"):
        place = next((n for n, own in enumerate(chats) if role in _roles(own)), None)
        if place is not None:
            found.append((role, place, [_marked(one, role) for one in chats[place]]))
    return found


def _roles(turns: Sequence[Turn]) -> set[str]:
    return {turn["role"] for turn in turns}


def _marked(turn: Turn, role: str) -> Turn:
    if turn["role"] != role:
        return turn
    content = turn["content"]
    mark = " .." if isinstance(content, str) else [{"type": "text", "text": " .."}]
    return {**turn, "content": content + mark}


def _texts(
    tokenizer: Any,
    chats: Sequence[Sequence[Turn]],
    owner: str | Path,
    template: str | None,
    opened: Sequence[bool] | None = None,
) -> list[str]:
    turns = max(map(len, chats), default=1)
    given = {
        "template": _template(tokenizer, owner) if template is None else template,
        "tokens": tokenizer.special_tokens_map,
        "chats": [list(turns) for turns in chats],
        "open": [True] * len(chats) if opened is None else list(opened),
        "lenient": opened is not None,
        "seconds": SECONDS + sum(map(len, chats)) // 1_000,
        "memory": MEMORY,
    }
    seconds = int(given["seconds"])
    late = f"it takes longer than {seconds} seconds"
    try:
        # Without -P, modules beside the program would stand before the standard library's.
        done = subprocess.run(
            [sys.executable, "-P", str(_PROGRAM)],
            input=json.dumps(given).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _error(owner, late, turns) from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        if -done.returncode in (signal.SIGXCPU, signal.SIGKILL):  # of the limit on its own time
            raise _error(owner, late, turns) from None
        raise _error(owner, f"its process ended with {done.returncode}", turns) from None
    if "texts" in answer:
        return list(answer["texts"])
    kind, message = answer["kind"], answer["message"]
    reason = _REASONS.get(kind, f"it fails with {kind}")
    raise _error(owner, f"{reason}: {shown(message, 200)}" if message else reason, turns)


def _template(tokenizer: Any, owner: str | Path) -> str:
    written = getattr(tokenizer, "chat_template", None)
    if not written:
        raise ChatTemplateError(
            f"{owner}: the tokenizer has no chat template; set fitness.chat=false"
        )
    if isinstance(written, dict):
        written = written.get("default")
    if not isinstance(written, str):
        raise _error(owner, "of several templates none is called default")
    return written


def _error(owner: str | Path, reason: str, turns: int = 1) -> ChatTemplateError:
    """The error of a template that is given so many turns."""
    way_out = " (a fitness.prefix can take the place of fitness.system)" if turns > 1 else ""
    return ChatTemplateError(
        f"{owner}: its chat template cannot be used: {reason}; correct it, or set "
        f"fitness.chat=false{way_out}"
    )
