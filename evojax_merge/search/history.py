"""A file with a line of JSON for every candidate ever evaluated.

For example, ``pandas.read_json(path, lines=True)`` reads it.
"""

import itertools
import json
import math
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evojax_merge import hosts
from evojax_merge.documents.files import naming, write_whole
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.params.types import Population
from evojax_merge.search.state import Spent


class HistoryError(ValueError):
    """The error that results of a search are lost, and with them what it had cost."""


class HistoryWarning(UserWarning):
    """The warning that results of candidates are lost."""


class History:
    """A file that candidates are appended to; what a resumed search will do again is taken out.

    A line holds ``search``, ``generation`` (from 0), ``candidate``, ``fitness`` (null when it was
    not finite), ``genotype`` (null where genotypes are not written), ``items`` (the result of every
    item; null where it is not finite or was not measured), ``item_evaluations`` (how many items
    were measured) and ``seconds``. Where there are several tasks, it holds ``objectives`` too.
    Where generations met different items, it holds ``error``, the standard error of the fitness by
    their choice.

    Attributes:
        spent: The cost of the search that was written last.
        lost: The completed generations of that search whose candidates are missing in part or all,
            counted from 0.
    """

    def __init__(self, path: Path, genotypes: bool = True):
        self.path = path
        self.spent = Spent()
        self.lost: list[int] = []
        self._genotypes = genotypes

    def missing(self, search: str, generations: int, candidates: int) -> list[int]:
        """Which of the first generations of a search lack candidates."""
        rows = [row for row in read_history(self.path) if row["search"] == search]
        return _lost(rows, generations, candidates)

    def repair(self) -> None:
        """Take out lines that are no results of candidates; the file as it was is kept beside.

        A last line without an end is what a killed process was writing. It is only dropped.

        Warns:
            HistoryWarning: Other lines were taken out.
        """
        lines = _read(self.path)
        wrong = {line.number: line.wrong for line in lines if line.wrong}
        if lines and not lines[-1].text.endswith(b"\n"):
            del wrong[len(lines)]
        if wrong:
            kept = _unused(self.path.with_name(f"{self.path.name}.damaged"))
            with naming(kept):
                shutil.copyfile(self.path, kept)
            first = next(iter(wrong))
            warnings.warn(
                f"{self.path}: {numbered('line', list(wrong))} cannot be used (line {first}: "
                f"{wrong[first]}); the file as it was is kept as {kept.name}",
                HistoryWarning,
                stacklevel=2,
            )
        self._keep([line for line in lines if line.row is not None], len(lines))

    def rewind(
        self, search: str, generation: int, candidates: int, spent: Spent | None = None
    ) -> list[dict[str, Any]]:
        """Drop the lines of a search from ``generation`` on.

        Args:
            search: The name of the search.
            generation: The first generation that will be done again.
            candidates: The number of candidates of each generation.
            spent: What the generations before had cost, as far as that is known from elsewhere.

        Returns:
            The lines of that search that remain.

        Raises:
            HistoryError: Some lines are missing, and nothing else tells what their candidates cost.

        Warns:
            HistoryWarning: Some lines are missing.
        """
        lines = _read(self.path)
        kept = [
            line
            for line in lines
            if line.row is not None
            and (line.row["search"] != search or line.row["generation"] < generation)
        ]
        self._keep(kept, len(lines))
        rows = [line.row for line in kept if line.row and line.row["search"] == search]
        self.lost = _lost(rows, generation, candidates)
        self.spent = spent_on(rows) if spent is None else spent
        if self.lost:
            lacks = (
                f"{self.path}: {search} lacks candidates of {numbered('generation', self.lost)} "
                "(counted from 0), before all checkpoints that are kept"
            )
            if spent is None:
                raise HistoryError(
                    f"{lacks}, and nothing tells what they cost; bring the file back from a copy, "
                    "or begin a new run"
                )
            warnings.warn(
                f"{lacks}. The search goes on without them, and what they cost is counted; plots "
                "lack them, and savers that learn from results know less than they did",
                HistoryWarning,
                stacklevel=2,
            )
        return rows

    def append(
        self, search: str, generation: int, population: Population, evaluation: Evaluation
    ) -> None:
        """Write one generation, which is on the disk before its state can be.

        Of several processes the first one writes.
        """
        rows = zip(
            np.asarray(population),
            evaluation.items,
            evaluation.fitness,
            evaluation.seconds,
            evaluation.item_evaluations,
            strict=True,
        )
        further: list[dict[str, Any]] = [{} for _ in evaluation.items]
        if evaluation.parts:
            for row, objectives in zip(further, evaluation.objectives, strict=True):
                row["objectives"] = list(map(_number, objectives))
        if evaluation.error is not None:
            for row, error in zip(further, evaluation.error, strict=True):
                row["error"] = _number(error)
        written = [
            {
                "search": search,
                "generation": generation,
                "candidate": candidate,
                "fitness": _number(fitness),
                "genotype": list(map(_number, genotype)) if self._genotypes else None,
                "items": [_number(item) for item in items],
                "item_evaluations": int(spent),
                "seconds": _number(seconds),
            }
            | further[candidate]
            for candidate, (genotype, items, fitness, seconds, spent) in enumerate(rows)
        ]
        if hosts.is_first():
            with naming(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row) + "\n" for row in written))
                file.flush()
                os.fsync(file.fileno())
        self.spent = self.spent.plus(spent_on(written))

    def _keep(self, lines: Sequence["_Line"], of: int) -> None:
        """Write the file anew if lines are to go."""
        if len(lines) < of:
            text = b"".join(line.text for line in lines)
            with naming(self.path):
                write_whole(self.path, lambda partial: partial.write_bytes(text))


def _lost(rows: Sequence[dict[str, Any]], generations: int, candidates: int) -> list[int]:
    there: dict[int, set[int]] = {}
    for row in rows:
        there.setdefault(row["generation"], set()).add(row["candidate"])
    whole = set(range(candidates))
    return [number for number in range(generations) if there.get(number) != whole]


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """The candidates in a file, or none if there is no file.

    Lines that hold no candidate, such as one that a crash cut off, are passed over.
    """
    return (line.row for line in _read(path) if line.row is not None)


def spent_on(rows: Sequence[dict[str, Any]]) -> Spent:
    """What the candidates of a history cost."""
    return Spent(
        len(rows),
        sum(row["item_evaluations"] for row in rows),
        sum(row["seconds"] or 0.0 for row in rows),
    )


class _Line(NamedTuple):
    """A line of the file, with what it holds if that is a candidate, or else what is wrong."""

    number: int
    text: bytes
    row: dict[str, Any] | None
    wrong: str = ""


def _read(path: Path) -> list[_Line]:
    """All lines; of several that tell of the same candidate, the first one counts."""
    if not path.exists():
        return []
    with naming(path), path.open("rb") as file:
        lines = [_parse(number, text) for number, text in enumerate(file, start=1)]
    usual: dict[str, Counter[tuple[int, ...]]] = {}
    for _, _, row, _ in lines:
        if row is not None:
            usual.setdefault(row["search"], Counter())[_lengths(row)] += 1
    first: dict[tuple[str, int, int], int] = {}
    for place, (number, text, row, _) in enumerate(lines):
        if row is None:
            continue
        candidate = row["search"], row["generation"], row["candidate"]
        if _lengths(row) != usual[row["search"]].most_common(1)[0][0]:
            wrong = "more or fewer numbers than in the others"
            lines[place] = _Line(number, text, None, wrong)
        elif first.setdefault(candidate, number) != number:
            lines[place] = _Line(number, text, None, f"the candidate of line {first[candidate]}")
    return lines


def _parse(number: int, text: bytes) -> _Line:
    if not text.endswith(b"\n"):
        return _Line(number, text, None, "cut off")
    try:
        row = json.loads(text.decode(), parse_constant=_refuse, parse_int=_small)
    except UnicodeDecodeError:
        return _Line(number, text, None, "not UTF-8")
    except (ValueError, RecursionError):
        return _Line(number, text, None, "not JSON")
    if not isinstance(row, dict):
        return _Line(number, text, None, "no candidate")
    for name, holds in _FIELDS.items():
        if name not in row and name not in _OPTIONAL:
            return _Line(number, text, None, f"no {name}")
        if name in row and not holds(row[name]):
            return _Line(number, text, None, f"a {name} that makes no sense")
    return _Line(number, text, row)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _small(digits: str) -> int:
    if len(digits) > 18:  # no array could hold it
        raise ValueError(f"{digits} is too large")
    return int(digits)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= {int, float, type(None)}


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "search": lambda value: isinstance(value, str),
    "generation": _is_count,
    "candidate": _is_count,
    "fitness": _is_number,
    "genotype": lambda value: value is None or (_is_numbers(value) and None not in value),
    "items": _is_numbers,
    "item_evaluations": _is_count,
    "seconds": _is_number,
    "objectives": _is_numbers,
    "error": _is_number,
}
_OPTIONAL = ("objectives", "error")


def _lengths(row: dict[str, Any]) -> tuple[int, ...]:
    """How many genes, items and objectives there are."""
    return tuple(len(row.get(name) or ()) for name in ("genotype", "items", "objectives"))


def _unused(path: Path) -> Path:
    """The path, or if it is taken one with a number behind that is not."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([path], numbered) if not one.exists())


def numbered(noun: str, numbers: Sequence[int]) -> str:
    """The numbers in words, e.g. ``line 3`` or ``lines 3, 7-9 and 30 more``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    shown = [str(low) if low == high else f"{low}-{high}" for low, high in spans[:_SPANS]]
    more = sum(high - low + 1 for low, high in spans[_SPANS:])
    plural = "s" if len(numbers) > 1 else ""
    return f"{noun}{plural} {', '.join(shown)}" + (f" and {more} more" if more else "")


_SPANS = 5
"""How many spans of numbers a message shows."""


def _number(value: np.floating) -> float | None:
    """The shortest decimal that names the float32; None for what JSON cannot write."""
    return float(str(np.float32(value))) if math.isfinite(value) else None
