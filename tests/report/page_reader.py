"""What a web page holds, read by a parser of the standard library."""

import dataclasses
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "input", "img", "br"}
SHAPES = {"path", "circle", "polyline", "polygon", "rect", "text"}


@dataclasses.dataclass
class Page:
    """A page.

    Attributes:
        text: All of its text that people read.
        tags: The names of its elements, in order.
        attributes: Name, attribute and value of each attribute, in order.
        scripts: The contents of its scripts.
    """

    text: str = ""
    tags: list[str] = dataclasses.field(default_factory=list)
    attributes: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    scripts: list[str] = dataclasses.field(default_factory=list)

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page, self.open = Page(), []

    def handle_starttag(self, tag, attributes):
        self.page.tags.append(tag)
        self.page.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in SHAPES
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.page.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.page.text += data


def read_page(file: Path) -> Page:
    """Read a page, all of whose elements are closed in order and whose ids are there once."""
    reader = _Reader()
    reader.feed(file.read_text(encoding="utf-8"))
    reader.close()
    assert not reader.open
    ids = reader.page.values("id")
    assert len(ids) == len(set(ids))
    return reader.page
