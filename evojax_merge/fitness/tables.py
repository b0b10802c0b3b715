"""Tables of items: values separated by commas or tabs, and Parquet."""

import csv
import datetime
import decimal
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evojax_merge.documents.errors import named, shown
from evojax_merge.documents.files import LARGEST, at_home, decoded, open_regular
from evojax_merge.fitness.data import DataError, Record


def read_separated(path: str | Path, separator: str, limit: int | None) -> tuple[Record, ...]:
    """Read a UTF-8 table with a header, of which all values are texts.

    A value with a separator, a quotation mark or a line break in it stands in quotation marks. The
    number of a record is that of the line where it ends.

    Args:
        path: The file.
        separator: What stands between values.
        limit: How many rows are read at most, the first ones.

    Raises:
        DataError: The file is no such table. The line is named.
        DocumentError: The file cannot be read, or it is not UTF-8.
    """
    with open_regular(at_home(path)) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DataError(
            f"{path}: is larger than {LARGEST / 2**20:g} MiB; give it as JSON Lines or Parquet"
        )
    text = io.StringIO(decoded(content).removeprefix("\ufeff"), newline="")
    before = csv.field_size_limit(LARGEST)
    lines = csv.reader(text, delimiter=separator, strict=True)
    try:
        records = tuple(itertools.islice(_rows(lines, str(path)), limit))
    except csv.Error as error:
        raise DataError(f"{path}, line {lines.line_num}: {error}; correct the quotes") from None
    finally:
        csv.field_size_limit(before)
    if not records:
        raise DataError(f"{path}: has no rows; write a header of names and a row for each item")
    return records


def _rows(lines: Any, path: str) -> Iterator[Record]:
    header: list[str] = next(lines, [])
    for name in header:
        if not name or header.count(name) > 1:
            what = f"names {named(name)!r} twice" if name else "has a column without a name"
            raise DataError(f"{path}, line 1: the header {what}; each column needs a name")
    for values in lines:
        if not values:
            continue
        if len(values) != len(header):
            raise DataError(
                f"{path}, line {lines.line_num}: has {len(values)} values, and the header names "
                f"{len(header)} columns; a value with a separator in it needs quotation marks"
            )
        yield Record(path, lines.line_num, dict(zip(header, values, strict=True)))


def read_parquet(path: str | Path, limit: int | None) -> tuple[Record, ...]:
    """Read a Parquet table by pyarrow, a part at a time.

    Columns of bytes, as pictures are, are left out. Dates and decimal numbers become texts.

    Args:
        path: The file.
        limit: How many rows are read at most, the first ones.

    Raises:
        DataError: The file is damaged, or pyarrow is not installed.
        DocumentError: The file cannot be read.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            f"{path}: Parquet is read by pyarrow, which is not installed: "
            "pip install 'evojax-merge[parquet]'"
        ) from None
    records: list[Record] = []
    with open_regular(at_home(path)) as file:
        try:
            table = parquet.ParquetFile(file)
            columns = [one.name for one in table.schema_arrow if not _holds_bytes(one.type)]
            for batch in table.iter_batches(batch_size=1024, columns=columns):
                left = None if limit is None else limit - len(records)
                for fields in batch.slice(0, left).to_pylist():
                    plain = {name: _plain(value) for name, value in fields.items()}
                    records.append(Record(str(path), len(records) + 1, plain, "row"))
                if len(records) == limit:
                    break
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"{path}: is no Parquet, or is damaged ({shown(reason, 200)}); fetch or write it "
                "again"
            ) from None
    if not records:
        raise DataError(f"{path}: has no rows")
    return tuple(records)


def _holds_bytes(kind: Any) -> bool:
    """Whether values of a type of Arrow have bytes in them."""
    from pyarrow import types

    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(number).type) for number in range(kind.num_fields))


def _plain(value: Any) -> Any:
    """A value as JSON could hold it."""
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    times = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal)
    return str(value) if isinstance(value, times) else value
