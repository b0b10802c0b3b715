"""What the text tasks share: splits in files of items and prompts from a template."""

import copy
import dataclasses
import itertools
import json
import re
import string
from collections.abc import Sequence
from typing import TypeVar

from evojax_merge.documents.arguments import check_text, check_whole
from evojax_merge.documents.errors import shown
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.formats import read_data
from evojax_merge.fitness.splits import check_undivided, divide

SPLITS = {"search": "data", "validation": "validation", "test": "test"}
"""The key that names the file of each split."""


_Task = TypeVar("_Task", bound="TextTask")


@dataclasses.dataclass(kw_only=True)
class TextTask:
    """Items of one to three files, all read and checked at once.

    Attributes:
        data: The file of the items that drive a search, or the split of a data set on the hub; see
            `evojax_merge.fitness.formats.read_data`.
        validation: The file of the items that choose among snapshots of a search, if any.
        test: The file of the held-out items, if any.
        split: The shares of the items of ``data`` for the splits, in place of further files; see
            `evojax_merge.fitness.splits.divide`.
        split_seed: The seed of that division.
        limit: How many items of each file are used at most, the first ones.
        prefix: The text before every prompt, e.g. worked examples.
        buckets: The largest number of padded lengths, each a compiled program.
        name: What results tables call the task.
        current_split: The split whose items are measured, see `on`.
    """

    data: str
    validation: str | None = None
    test: str | None = None
    split: Sequence[float] | None = None
    split_seed: int = 0
    limit: int | None = None
    prefix: str = ""
    buckets: int = 3
    name: str = "text"
    current_split: str = dataclasses.field(default="search", init=False)

    def __post_init__(self) -> None:
        check_whole(f"{self.name}: buckets", self.buckets, 1)
        self.prefix = unescape(check_text(f"{self.name}: prefix", self.prefix))
        self._records = self._read()
        for records in self._records.values():
            self.check(records)

    def check(self, records: tuple[Record, ...]) -> None:
        """Raise if a record lacks what the task needs; called once for every split."""

    def _read(self) -> dict[str, tuple[Record, ...]]:
        """The items of each split, from its own file or from its share of the one file."""
        files = {"validation": self.validation, "test": self.test}
        if self.split is None:
            check_undivided(self.split_seed, self.name)
            paths = {"search": self.data} | files
            return {s: read_data(path, self.limit) for s, path in paths.items() if path is not None}
        records = read_data(self.data, self.limit)
        parts = divide(
            list(map(content_of, records)), self.split, self.split_seed, self.name, files
        )
        return {s: tuple(records[place] for place in places) for s, places in parts.items()}

    @property
    def repeated(self) -> int:
        """How many items of the current split are items of an earlier one too."""
        earlier = itertools.takewhile(lambda split: split != self.current_split, self._records)
        seen = {content_of(record) for split in earlier for record in self._records[split]}
        return sum(content_of(record) in seen for record in self.records)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there is data for."""
        return tuple(self._records)

    @property
    def records(self) -> tuple[Record, ...]:
        """The items of the current split."""
        return self._records[self.current_split]

    def __len__(self) -> int:
        return len(self.records)

    def on(self: _Task, split: str) -> _Task:
        """The same task on the items of another split.

        Raises:
            ValueError: There is no data for that split.
        """
        self._require(split)
        task = copy.copy(self)
        task.current_split = split
        return task

    def _require(self, split: str) -> None:
        if not isinstance(split, str) or split not in SPLITS:
            known = ", ".join(SPLITS)
            raise ValueError(
                f"{self.name}: no split {split!r}; the splits are {known}{nearest(split, SPLITS)}"
            )
        if split not in self._records:
            raise ValueError(
                f"{self.name}: no data for the split {split!r}; "
                f"give its file as fitness.{SPLITS[split]}, or a share of fitness.data for it in "
                "fitness.split"
            )


def content_of(record: Record) -> bytes:
    """What is the same for equal items, wherever they stand."""
    return json.dumps(record.fields, sort_keys=True).encode()


def template_fields(template: str) -> tuple[str, ...]:
    """The names of the fields that a template takes.

    Raises:
        ValueError: The template is no text or not in the syntax of ``str.format``, it reaches into
            a field, or a field has a format with fields of its own or a width beyond `WIDEST`.
    """
    check_text("template", template)
    try:
        fields = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(
            f"template {template!r}: {error}; a literal brace is written twice, {{{{ or }}}}"
        ) from error
    parts = [str(name) for _, name, _, _ in fields]
    for _, name, form, _ in fields:
        widths = [int(digits[:9]) for digits in re.findall(r"\d+", form or "")]
        if "{" in (form or "") or max(widths, default=0) > WIDEST:
            raise ValueError(
                f"template {shown(template)}: the format {shown(form)} of {{{name}}} has fields of "
                f"its own, or is wider than {WIDEST:,} characters; leave it out"
            )
    for name in parts:
        if not name or name.isdigit() or not name.isprintable() or set(name) & set(".["):
            raise ValueError(
                f"template {template!r}: {{{name}}} is not the name of a field; "
                "a literal brace is written twice, {{ or }}"
            )
    return tuple(parts)


WIDEST = 1_000
"""How many characters or digits the format of a field may fill up to."""


def unescape(text: str) -> str:
    """Line breaks and tabs that a command line could only write as ``\\n`` and ``\\t``."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def fill(template: str, record: Record) -> str:
    """The template with the fields of a record put in.

    Raises:
        ValueError: The template is not one that `template_fields` takes.
        DataError: The record lacks a field, or it is neither a text nor a number.
    """
    template = unescape(check_text("template", template))
    values = {name: _value(record, name) for name in template_fields(template)}
    try:
        return template.format_map(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{record.place}: template {template!r}: {error}") from error


def _value(record: Record, name: str) -> str | int | float:
    """The field as it stands, a text or a finite number, since numbers can have formats."""
    text = record.text(name)
    value: str | int | float = record.field(name)
    return text if isinstance(value, str) else value
