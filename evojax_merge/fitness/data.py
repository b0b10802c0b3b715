"""Items of data files, JSON Lines among them, and errors that name file, line and field.

What other files hold, and data sets of the hub, is read by `evojax_merge.fitness.formats`.
"""

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from evojax_merge.documents.arguments import check_text, check_whole
from evojax_merge.documents.errors import DocumentError, named, shown
from evojax_merge.documents.files import LARGEST, at_home, decoded, open_regular
from evojax_merge.documents.json_text import JsonSyntaxError, load_json
from evojax_merge.documents.nearest import nearest

_LARGEST_NUMBER = sys.float_info.max


class DataError(ValueError):
    """A data file cannot be used as it is."""


class Record(NamedTuple):
    """One object of a file and where it stands.

    Attributes:
        path: The file.
        line: The number of its line, or of its place among others, from 1.
        fields: Its values by name.
        unit: What is numbered: a line, an item of a list, or a row of a table.
    """

    path: str
    line: int
    fields: dict[str, Any]
    unit: str = "line"

    @property
    def place(self) -> str:
        """The file and the line, as messages give them."""
        return f"{self.path}, {self.unit} {self.line}"

    def field(self, name: str) -> Any:
        """The value of a field.

        Raises:
            DataError: The object has no such field.
        """
        if name in self.fields:
            return self.fields[name]
        present = ", ".join(map(repr, map(named, self.fields))) or "none"
        hint = nearest(name, self.fields)
        raise DataError(f"{self.place}: no field {name!r}; the fields are {present}{hint}")

    def text(self, name: str) -> str:
        """The value of a field that is a text or a finite number, as text.

        Raises:
            DataError: The object has no such field, or it is neither.
        """
        value = self.field(name)
        if isinstance(value, str):
            return value
        # Not true and false, which Python counts among the whole numbers; nor NaN.
        if type(value) in (int, float) and abs(value) <= _LARGEST_NUMBER:
            return str(value)
        raise DataError(
            f"{self.place}: field {name!r} is {_KINDS.get(type(value), shown(value))}; give a text "
            "or a number"
        )


def read_jsonl(path: str | Path, limit: int | None = None) -> tuple[Record, ...]:
    """Read a UTF-8 JSON Lines file; blank lines and a byte order mark are passed over.

    Args:
        path: The file.
        limit: How many objects are read at most.

    Raises:
        DataError: The file is missing, no regular file, empty or not UTF-8, or a line is not a JSON
            object whose keys are all different.
        ValueError: The path is no text, or the limit no whole number of at least 1.
    """
    if limit is not None:
        check_whole("limit", limit, 1)
    if not isinstance(path, Path):
        check_text("a file of data", path, empty=False)
    try:
        file = open_regular(at_home(path))
    except DocumentError as error:
        raise DataError(f"{path}: {error}") from None
    with file:
        records = tuple(itertools.islice(_records(file, str(path)), limit))
    if not records:
        raise DataError(f"{path}: the file is empty; write one JSON object a line")
    return records


def _records(file: BinaryIO, path: str) -> Iterator[Record]:
    for number, line in enumerate(_lines(file), start=1):
        if line.strip():
            yield Record(path, number, _parse(line, f"{path}, line {number}"))


_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    float: "no finite number",
    int: "a number too large to be one of an item",
}


def _lines(file: BinaryIO) -> Iterable[bytes]:
    """Lines without a byte order mark; a line too long to be read is cut and is the last.

    Only a newline ends one: `str.splitlines` would also split at U+2028 inside a JSON string.
    """
    first = True
    while line := file.readline(LARGEST):
        yield line.removeprefix(b"\xef\xbb\xbf") if first else line
        first = False


def _parse(line: bytes, place: str) -> dict[str, Any]:
    try:
        value = load_json(decoded(line))
    except JsonSyntaxError as error:
        raise DataError(
            f"{place}: malformed JSON: {error.reason} at column {error.column}; "
            "write one JSON object a line"
        ) from error
    except DocumentError as error:
        raise DataError(f"{place}: {error}") from error
    if not isinstance(value, dict):
        raise DataError(
            f"{place}: a JSON {type(value).__name__}, not an object; write one object a line"
        )
    return value
