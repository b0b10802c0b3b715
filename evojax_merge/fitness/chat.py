"""Prompts as turns of a chat, by the template that a model brings.

A template is a program in a small language, written by whoever made the model. transformers runs it
in a sandbox, which keeps it from files and from Python, but not from running for ever or from
filling the memory. So it is run in a process of its own, of limited time and memory.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
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


class Conversation(NamedTuple):
    """Turns of a chat.

    Attributes:
        messages: The turns, each with a ``role`` and a ``content``.
        open: Whether a new turn of the model begins after them. Otherwise the last turn goes on.
    """

    messages: Sequence[Mapping[str, Content]]
    open: bool = True


def as_chats(
    tokenizer: Any, prompts: Sequence[Content], owner: str | Path, template: str | None = None
) -> list[str]:
    """Each prompt as a user's turn, up to where the model's answer begins.

    The result equals ``apply_chat_template([{"role": "user", "content": prompt}], tokenize=False,
    add_generation_prompt=True)``.

    Args:
        tokenizer: The tokenizer, which gives the special tokens.
        prompts: The prompts.
        owner: The directory of the tokenizer, or another name for it in messages.
        template: The template; by default, that of the tokenizer.

    Raises:
        ChatTemplateError: There is no template, or it fails, takes too long or too much memory.
    """
    turns = [Conversation([{"role": "user", "content": prompt}]) for prompt in prompts]
    return as_conversations(tokenizer, turns, owner, template=template)


def as_conversations(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    owner: str | Path,
    switch: str = "fitness.chat",
    template: str | None = None,
) -> list[str]:
    """Each conversation as a text. What a template refuses for its system turn goes without.

    Args:
        tokenizer: The tokenizer, which gives the special tokens.
        conversations: The conversations.
        owner: The directory of the tokenizer, or another name for it in messages.
        switch: The key that asks for chats, for messages.
        template: The template; by default, that of the tokenizer.

    Raises:
        ChatTemplateError: There is no template, or it fails, takes too long or too much memory.
    """
    try:
        return _rendered(tokenizer, conversations, owner, template)
    except ChatTemplateError as error:
        raise ChatTemplateError(f"{error}{switch}=false") from error.__cause__


def _rendered(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    owner: str | Path,
    template: str | None,
) -> list[str]:
    given = {
        "template": _template(tokenizer, owner) if template is None else template,
        "tokens": tokenizer.special_tokens_map,
        "conversations": [[list(one.messages), one.open] for one in conversations],
        "seconds": SECONDS + len(conversations) // 1_000,
        "memory": MEMORY,
    }
    seconds = int(given["seconds"])
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
        raise _error(owner, f"it takes longer than {seconds} seconds") from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        if -done.returncode in (signal.SIGXCPU, signal.SIGKILL):  # of the limit on its own time
            raise _error(owner, f"it takes longer than {seconds} seconds") from None
        raise _error(owner, f"its process ended with {done.returncode}") from None
    if "texts" in answer:
        return list(answer["texts"])
    kind, message = answer["kind"], answer["message"]
    reason = _REASONS.get(kind, f"it fails with {kind}")
    raise _error(owner, f"{reason}: {shown(message, 200)}" if message else reason)


def _template(tokenizer: Any, owner: str | Path) -> str:
    written = getattr(tokenizer, "chat_template", None)
    if not written:
        raise ChatTemplateError(f"{owner}: the tokenizer has no chat template; set ")
    if isinstance(written, dict):
        written = written.get("default")
    if not isinstance(written, str):
        raise _error(owner, "of several templates none is called default")
    return written


def _error(owner: str | Path, reason: str) -> ChatTemplateError:
    return ChatTemplateError(
        f"{owner}: its chat template cannot be used: {reason}; correct it, or set "
    )
