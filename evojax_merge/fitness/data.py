"""JSON Lines files: one object a line, and errors that name the file, the line and the field."""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple


class DataError(ValueError):
    """A data file cannot be used as it is."""


class Record(NamedTuple):
    """One object of a file and where it stands."""

    path: str
    line: int
    fields: dict[str, Any]

    @property
    def place(self) -> str:
        """File and line, as messages give it."""
        return f"{self.path}, line {self.line}"

    def field(self, name: str) -> Any:
        """The value of a field.

        Raises:
            DataError: The object has no such field.
        """
        if name in self.fields:
            return self.fields[name]
        present = ", ".join(map(repr, self.fields)) or "none"
        hint = did_you_mean(name, self.fields)
        raise DataError(f"{self.place}: no field {name!r}; the fields are {present}{hint}")


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """The end of a message that names the option nearest to a misspelt name, or nothing."""
    near = difflib.get_close_matches(name, list(options), n=1)
    return f". Did you mean {near[0]!r}?" if near else ""


def read_jsonl(path: str | Path, limit: int | None = None) -> tuple[Record, ...]:
    """Read a UTF-8 JSON Lines file; blank lines and a byte order mark are passed over.

    Args:
        path: The file.
        limit: Read at most this many objects.

    Raises:
        DataError: The file is missing, empty or not UTF-8, or a line is not a JSON object.
    """
    file = Path(path).expanduser()
    if limit is not None and limit < 1:
        raise DataError(f"limit must be at least 1 item or null, not {limit}")
    if not file.is_file():
        raise DataError(f"{path}: {'not a file' if file.exists() else 'no such file'}")
    # Split on newlines only: str.splitlines would also split at U+2028 inside a JSON string.
    lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        if limit is not None and len(records) == limit:
            break
        if line.strip():
            records.append(Record(str(path), number, _parse(line, f"{path}, line {number}")))
    if not records:
        raise DataError(f"{path}: the file is empty; write one JSON object a line")
    return tuple(records)


def _parse(line: bytes, place: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}: malformed JSON: {error.msg} at column {error.colno}; "
            "write one JSON object a line"
        ) from error
    if not isinstance(value, dict):
        raise DataError(
            f"{place}: a JSON {type(value).__name__}, not an object; write one object a line"
        )
    return value
