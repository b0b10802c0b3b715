"""Blocks of Markdown in which models write code and JSON."""

import re

_FENCE = re.compile(r"^[ \t]*```([^`\n]*)$", re.MULTILINE)


def fenced_blocks(text: str) -> list[str]:
    """The contents of the blocks between lines of three backquotes, in order.

    A block that is not closed, as where an answer was cut, goes to the end. Where the first of an
    odd number of such lines names no language, it closes a block that was opened in the prompt.
    """
    fences = list(_FENCE.finditer(text))
    blocks = []
    if len(fences) % 2 and not fences[0][1].strip():
        blocks.append(text[: fences[0].start()])
        fences = fences[1:]
    for first in range(0, len(fences), 2):
        end = fences[first + 1].start() if first + 1 < len(fences) else len(text)
        blocks.append(text[fences[first].end() + 1 : end])
    return blocks
