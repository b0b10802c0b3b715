"""A program that renders a chat template in a process of limited time and memory.

The module `chat` runs it and never imports it. It reads what it needs as JSON from its input, and
writes texts or an error as JSON to its output.
"""

import contextlib
import json
import resource
import sys
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

_LONGEST = 10_000_000
"""The most characters of a text; the memory holds many such texts, and no context holds one."""


def main() -> None:
    """Render every chat, or say what went wrong with the first that fails."""
    given = json.load(sys.stdin)
    _limit(given["seconds"], given["memory"])
    try:
        chats = zip(given["chats"], given["open"], strict=True)
        answer = json.dumps({"texts": [_rendered(given, turns, begun) for turns, begun in chats]})
    except Exception as error:  # of a stranger's program
        names = [base.__name__ for base in type(error).__mro__]
        known = ("SecurityError", "TemplateSyntaxError", "UndefinedError", "MemoryError")
        kind = next((name for name in known if name in names), names[0])
        answer = json.dumps({"kind": kind, "message": str(error)[:1_000]})
    sys.stdout.write(answer)


def _rendered(given: dict[str, Any], turns: list[dict[str, Any]], begun: bool) -> str:
    """The text of a chat, perhaps without the system's turn where the template refuses that."""
    try:
        return _text(given, turns, begun)
    except TemplateError:
        others = [turn for turn in turns if turn["role"] != "system"]
        if not given["lenient"] or len(others) == len(turns):
            raise
        return _text(given, others, begun)


def _text(given: dict[str, Any], turns: list[dict[str, Any]], begun: bool) -> str:
    texts, _ = render_jinja_template(
        conversations=[turns],
        chat_template=given["template"],
        add_generation_prompt=begun,
        continue_final_message=not begun,
        **given["tokens"],
    )
    if len(texts[0]) > _LONGEST:
        raise OverflowError(f"a text of {len(texts[0]):,} characters")
    return str(texts[0])


def _limit(seconds: int, memory: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, spent + seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where there is no such file or no such limit, as on macOS, time alone bounds it.
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))


if __name__ == "__main__":
    main()
