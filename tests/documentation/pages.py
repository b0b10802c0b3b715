"""The pages of the documentation, and what they say to type."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

WRITTEN = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{p.relative_to(DOCS)}" for p in DOCS.rglob("*.md")),
]
EXPERIMENTS = [str(p.relative_to(ROOT)) for p in (ROOT / "experiments").rglob("README.md")]
"""Included in pages of results as they are."""

PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in sorted(WRITTEN + EXPERIMENTS)}

_FENCED = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)


class Block(NamedTuple):
    """A block of code.

    Attributes:
        page: Where it stands.
        language: What it is written in.
        title: The file that it is to be put in, if any.
        text: The code.
    """

    page: str
    language: str
    title: str | None
    text: str


class Command(NamedTuple):
    """A line to type in a shell.

    Attributes:
        page: Where it stands.
        words: What the shell makes of it, without assignments in front.
    """

    page: str
    words: tuple[str, ...]


def blocks(language: str, page: str | None = None) -> list[Block]:
    """The blocks of a language, of one page or of all."""
    found = [
        Block(name, *groups)
        for name, text in PAGES.items()
        for groups in _FENCED.findall(text)
        if page in (None, name)
    ]
    return [
        block._replace(title=block.title or None) for block in found if block.language == language
    ]


def commands() -> list[Command]:
    """Every command of every page, each once."""
    texts = [(block.page, block.text) for block in blocks("sh")]
    texts += [(name, text) for name in EXPERIMENTS for text in _INDENTED.findall(PAGES[name])]
    found = []
    for page, text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                found.append(Command(page, tuple(words)))
    return list(dict.fromkeys(found))


def called(program: str, *first: str) -> list[Command]:
    """The commands that call a program, with these words first."""
    return [c for c in commands() if c.words[: 1 + len(first)] == (program, *first)]


def name_of(command: Command) -> str:
    """What a test of a command is called."""
    return f"{command.page}: {' '.join(command.words)}"
