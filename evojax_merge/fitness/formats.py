"""Items of data in the formats that people keep them in, which the end of a file's name says.

| end | what it holds |
|---|---|
| ``.json`` | a list of objects, an object with such a list as ``data``, or JSON Lines |
| ``.csv``, ``.tsv`` | a table with a header, of which all values are texts |
| ``.parquet`` | a table, see `evojax_merge.fitness.tables.read_parquet` |
| any other | JSON Lines |
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from evojax_merge.documents.arguments import check_text, check_whole
from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import at_home, read_text
from evojax_merge.documents.json_text import load_json
from evojax_merge.fitness.data import DataError, Record, read_jsonl
from evojax_merge.fitness.hub_data import HUB, hub_files
from evojax_merge.fitness.tables import read_parquet, read_separated

_UNREAD = (
    ".gz",
    ".zst",
    ".xz",
    ".bz2",
    ".zip",
    ".tar",
    ".arrow",
    ".xlsx",
    ".pkl",
    ".pickle",
    ".pt",
)


def read_data(source: str | Path, limit: int | None = None) -> tuple[Record, ...]:
    """Read items from a file, or from the files of a split of a data set on the hub.

    Args:
        source: The file, or ``hub:`` and a data set (see `evojax_merge.fitness.hub_data`).
        limit: How many items are read at most, the first ones.

    Raises:
        DataError: Something is missing or malformed. File and line are named.
        ValueError: The source is no text, or the limit no whole number of at least 1.
    """
    if limit is not None:
        check_whole("limit", limit, 1)
    if isinstance(source, Path) or not check_text("data", source, empty=False).startswith(HUB):
        return _read(source, limit)
    found: tuple[Record, ...] = ()
    for file in hub_files(source):
        left = None if limit is None else limit - len(found)
        if left == 0:
            break
        found += _read(file, left)
    return found


def _read(path: str | Path, limit: int | None) -> tuple[Record, ...]:
    end = Path(path).suffix.lower()
    if end in _UNREAD:
        raise DataError(
            f"{path}: files that end in {end} are not read; give JSON Lines, JSON, CSV, TSV or "
            "Parquet"
        )
    try:
        return _READERS.get(end, read_jsonl)(path, limit)
    except DataError:
        raise
    except DocumentError as error:
        raise DataError(f"{path}: {error}") from None


def _read_json(path: str | Path, limit: int | None) -> tuple[Record, ...]:
    text = read_text(at_home(path)).removeprefix("\ufeff").strip()
    first, _, rest = text.partition("\n")
    if _is_object(first) and (rest.strip() or _items_in(load_json(first)) is None):
        return read_jsonl(path, limit)  # as many data sets call their JSON Lines
    if not text:
        raise DataError(f"{path}: the file is empty; write a list of objects")
    items = _items_in(load_json(text))
    if items is None:
        raise DataError(
            f"{path}: holds neither a list of objects nor an object with such a list as 'data'; "
            "write one of them, or one object a line"
        )
    records = []
    for number, item in enumerate(items[:limit], start=1):
        if not isinstance(item, dict):
            raise DataError(
                f"{path}, item {number}: a JSON {type(item).__name__}, not an object; write a "
                "list of objects"
            )
        records.append(Record(str(path), number, item, "item"))
    if not records:
        raise DataError(f"{path}: the list is empty; give at least one object")
    return tuple(records)


def _is_object(line: str) -> bool:
    """Whether a line is a whole object, which the first line of a file in many lines is not."""
    try:
        return isinstance(load_json(line), dict)
    except DocumentError:
        return False


def _items_in(value: Any) -> list[Any] | None:
    """The list that a file holds, alone or as ``data``."""
    found = value.get("data") if isinstance(value, dict) else value
    return found if isinstance(found, list) else None


def _read_commas(path: str | Path, limit: int | None) -> tuple[Record, ...]:
    return read_separated(path, ",", limit)


def _read_tabs(path: str | Path, limit: int | None) -> tuple[Record, ...]:
    return read_separated(path, "\t", limit)


_READERS: dict[str, Callable[[str | Path, int | None], tuple[Record, ...]]] = {
    ".json": _read_json,
    ".csv": _read_commas,
    ".tsv": _read_tabs,
    ".parquet": read_parquet,
}

ENDS = (".jsonl", ".ndjson", *_READERS)
"""The ends of the names of files of items."""
