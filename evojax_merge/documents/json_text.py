"""JSON within bounds, in which a key given twice is an error instead of silently the last one."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evojax_merge.documents.errors import DocumentError, shown
from evojax_merge.documents.files import naming

DEEPEST = 64
"""How deep objects and lists may be nested. Python's own limit depends on who calls."""

MOST = 5_000_000
"""How many objects and lists there may be. A tokenizer of a quarter of a million merges has as many
lists."""

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_SURROGATE = re.compile(r"\\u[dD][89abABcdefCDEF]")


class JsonSyntaxError(DocumentError):
    """A text is not JSON.

    Attributes:
        column: The place of the mistake in its line, from 1.
    """

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(f"not valid JSON ({reason} at line {line}, column {column})")
        self.reason = reason
        self.column = column


def load_json(text: str) -> Any:
    """The value that a text describes.

    Raises:
        JsonSyntaxError: The text is not JSON.
        DocumentError: The text is too deep or has too many parts, an object has a key twice, or a
            string holds half of a surrogate pair, which is no character.
    """
    _check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        raise JsonSyntaxError(error.msg, error.lineno, error.colno) from None
    except DocumentError:
        raise
    except ValueError as error:  # a whole number of thousands of digits
        raise DocumentError(f"not valid JSON ({error})") from None
    if _SURROGATE.search(text):
        _check_characters(value)
    return value


def load_object(text: str) -> dict[str, Any]:
    """The object that a text describes.

    Raises:
        DocumentError: `load_json` refuses the text, or it describes no object.
    """
    value = load_json(text)
    if not isinstance(value, dict):
        raise DocumentError(f"holds {_KINDS[type(value)]}; a JSON object was expected")
    return value


_KINDS = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object to a file, in lines.

    Raises:
        OSError: The file cannot be written; the error names it.
    """
    with naming(path):
        path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check_depth(text: str) -> None:
    depth = parts = 0
    for match in _BRACKET.finditer(_STRING.sub("", text)):
        if match[0] in "]}":
            depth -= 1
            continue
        depth, parts = depth + 1, parts + 1
        if depth > DEEPEST:
            raise DocumentError(f"is nested more than {DEEPEST} deep")
        if parts > MOST:
            raise DocumentError(f"has more than {MOST:,} objects and lists")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DocumentError(f"the key {shown(key)} is given twice; leave one of them out")
            seen.add(key)
    return found


def _check_characters(value: Any) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise DocumentError(
                f"the text {shown(value)} holds half of a surrogate pair, which is no character"
            ) from None
    elif isinstance(value, dict):
        for key, part in value.items():
            _check_characters(key)
            _check_characters(part)
    elif isinstance(value, list):
        for part in value:
            _check_characters(part)
