"""What methods answered on a few items, kept so that people can read them side by side."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evojax_merge.documents.files import read_text, write_text
from evojax_merge.documents.json_text import load_object
from evojax_merge.fitness.base import Task
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.params.types import Float, Int

FILE = "examples.json"

MOST = 24
"""How many items are kept."""

_POOL = 256
"""How many items the kept ones are chosen from, of each task; answers on others are let go."""

_LONGEST = 4_000
"""How many characters of a text are kept."""

_WORD = 20
"""How many characters a word or two have."""

_MOST_METHODS = 16

_KNOWN = {"item", "task", "prompt", "text", "answer", "reference", "references", "right", "score",
          "pictures", "picture", "choices", "values"}  # fmt: skip
"""The entries of a task's records that have a place of their own; short others become notes."""

_MOST_NOTES = 4


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a method answered on an item.

    Attributes:
        method: The name of the method.
        text: What it said; None where all that there is of it is the score.
        extracted: What of that was compared with the reference, if that is not all of it.
        score: The result of the item; None where it is not finite.
        right: Whether it is right; None where items are not right or wrong.
        notes: What else the task tells of it, by name.
    """

    method: str
    text: str | None
    extracted: str | None
    score: float | None
    right: bool | None
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Example:
    """An item, and what every method answered on it.

    Attributes:
        item: Its place among the items of its task.
        task: Its task, where there are several.
        prompt: What was asked, or the text that was measured; None where it is no text.
        references: The right answers, where there are some.
        pictures: The names of the pictures that belong to it.
        choices: What was to be chosen from.
        answers: The answers.
    """

    item: int
    task: str | None
    prompt: str | None
    references: tuple[str, ...]
    pictures: tuple[str, ...]
    choices: tuple[str, ...]
    answers: tuple[Answer, ...]

    @property
    def differs(self) -> bool:
        """Whether methods did not all do equally well."""
        return len({one.score for one in self.answers}) > 1

    @property
    def is_brief(self) -> bool:
        """Whether all answers are a word or two."""
        return all(len(one.text or "") <= _WORD and not one.notes for one in self.answers)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Some items of a split.

    Attributes:
        split: The split.
        of: How many items the split has, of all tasks together.
        measures: The name and the unit of the results, by task; of a single one, by ``""``.
        items: The items.
    """

    split: str
    of: int
    measures: Mapping[str, tuple[str, str]]
    items: tuple[Example, ...]

    def save(self, directory: Path) -> None:
        """Write the examples into the directory of a run."""
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)
        file = directory / FILE
        write_text(file, text + "\n")

    @classmethod
    def load(cls, directory: Path) -> "Examples | None":
        """Read what `save` wrote; None if there is none.

        Raises:
            ValueError: The file is damaged.
        """
        file = directory / FILE
        if not file.is_file():
            return None
        try:
            tree = load_object(read_text(file))
            measures = {str(name): (str(a), str(b)) for name, (a, b) in tree["measures"].items()}
            items = tuple(map(_example, tree["items"][:MOST]))
            return cls(str(tree["split"]), int(tree["of"]), measures, items)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: holds no examples as this version writes them") from error


def _example(tree: Mapping[str, Any]) -> Example:
    fields = {key: tuple(map(str, tree[key])) for key in ("references", "pictures", "choices")}
    answers = tuple(
        Answer(
            str(one["method"]),
            _text(one["text"]),
            _text(one["extracted"]),
            None if one["score"] is None else float(one["score"]),
            None if one["right"] is None else bool(one["right"]),
            {str(key): str(value) for key, value in one["notes"].items()},
        )
        for one in tree["answers"]
    )
    return Example(
        int(tree["item"]), _text(tree["task"]), _text(tree["prompt"]), **fields, answers=answers
    )


class Gathering:
    """Gathers what methods answer, one method after another, and chooses items to keep.

    Args:
        task: What is measured, on the split that methods are compared on.
        winner: The method that the others are compared with.
    """

    def __init__(self, task: Task, winner: str) -> None:
        self._task, self._winner = task, winner
        self._parts = task.tasks if isinstance(task, SeveralTasks) else {"": task}
        self._rows = self._pool()
        self._scores: dict[str, np.ndarray] = {}
        self._records: dict[str, list[Mapping[str, Any]]] = {}

    def add(
        self,
        name: str,
        items: Float[np.ndarray, " items"],
        details: Callable[[], Sequence[Mapping[str, Any]]],
    ) -> None:
        """Keep what a method answered.

        Args:
            name: The method.
            items: Its result of every item.
            details: The function that gives the task's record of every item.
        """
        if len(self._scores) >= _MOST_METHODS and name != self._winner:
            return
        records = details()
        if not records:
            return
        if len(records) != len(items):
            raise ValueError(f"the task tells of {len(records)} of {len(items)} items")
        self._scores[name] = np.asarray(items)[self._rows]
        self._records[name] = [dict(records[row]) for row in self._rows]

    def choose(self) -> Examples | None:
        """Choose items, of each task as many; None if nothing was gathered.

        Items on which the winner did otherwise than another method come first, evenly spread over
        the split, and so do the others after them.
        """
        if not self._scores:
            return None
        share = max(1, MOST // len(self._parts))
        chosen: list[Example] = []
        begin = 0
        for name, part in self._parts.items():
            own = np.flatnonzero((self._rows >= begin) & (self._rows < begin + len(part)))
            chosen += [self._example(place, name, begin) for place in self._best(own, share)]
            begin += len(part)
        measures = {name: (one.measure.name, one.measure.unit) for name, one in self._parts.items()}
        split = self._task.current_split
        return Examples(split, len(self._task), measures, tuple(chosen[:MOST]))

    def save(self, directory: Path) -> None:
        """Write the examples that `choose` gives into the directory of a run, if there are some."""
        if (examples := self.choose()) is not None:
            examples.save(directory)

    def _pool(self) -> Int[np.ndarray, " rows"]:
        rows, begin = [], 0
        for part in self._parts.values():
            rows.append(begin + _spread(np.arange(len(part)), _POOL))
            begin += len(part)
        return np.concatenate(rows)

    def _best(self, places: Int[np.ndarray, " own"], share: int) -> list[int]:
        table = np.stack([scores[places] for scores in self._scores.values()])
        mine = self._scores[self._winner][places] if self._winner in self._scores else table[0]
        differ = ~np.isclose(table, mine, equal_nan=True).all(axis=0)
        found = _spread(places[differ], share)
        rest = _spread(places[~differ], share - len(found))
        return sorted([*found.tolist(), *rest.tolist()])

    def _example(self, place: int, task: str, begin: int) -> Example:
        records = {name: rows[place] for name, rows in self._records.items()}
        first = next(iter(records.values()))
        prompt, references = first.get("prompt", first.get("text")), first.get("references")
        if references is None:
            references = [first["reference"]] if first.get("reference") is not None else []
        pictures = first.get("pictures") or ([first["picture"]] if first.get("picture") else [])
        answers = tuple(
            _answer(name, record, float(self._scores[name][place]))
            for name, record in records.items()
        )
        return Example(
            int(self._rows[place]) - begin,
            task or None,
            _text(prompt),
            _texts(references),
            _texts(pictures),
            _texts(first.get("choices") or ()),
            answers,
        )


def _answer(method: str, record: Mapping[str, Any], score: float) -> Answer:
    text = record.get("text") if "prompt" in record else None
    answer = record.get("answer")
    if text is None:
        text, answer = answer, None
    right = record.get("right")
    notes = [
        (str(key).replace("_", " "), _note(value))
        for key, value in record.items()
        if key not in _KNOWN and isinstance(value, str | bool | int | float) and value != ""
    ]
    first = record.get("prompt")
    notes = [(k, v) for k, v in notes if len(v) <= 80 and v != first][:_MOST_NOTES]
    return Answer(
        method,
        _text(text),
        None if answer == text else _text(answer),
        score if math.isfinite(score) else None,
        bool(right) if isinstance(right, bool | np.bool_) else None,
        dict(notes),
    )


def _note(value: str | bool | int | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(_text(value))


def _text(value: Any) -> str | None:
    """A text as it is kept, in a length that can be read; half of a pair is no character."""
    if value is None:
        return None
    text = str(value).encode(errors="backslashreplace").decode()
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]} … (of {len(text):,} characters)"


def _texts(values: Any) -> tuple[str, ...]:
    every = [values] if isinstance(values, str) else list(values)
    return tuple(str(_text(value)) for value in every[:20])


def _spread(places: Int[np.ndarray, " n"], most: int) -> Int[np.ndarray, " chosen"]:
    """At most so many of some places, evenly spread over them."""
    if most <= 0 or not len(places):
        return places[:0]
    at = np.linspace(0, len(places) - 1, min(most, len(places)))
    return np.asarray(places[at.round().astype(int)])
