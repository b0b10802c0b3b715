"""A fitness that a function of the user's own measures, one candidate after another."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Int

from evojax_merge.documents.arguments import check_whole
from evojax_merge.documents.errors import DocumentError, named, shown
from evojax_merge.documents.files import at_home
from evojax_merge.documents.nearest import nearest
from evojax_merge.documents.own_code import load_own
from evojax_merge.fitness.base import Batch, HandedBatch, Measure
from evojax_merge.fitness.external.calling import Call, Measured, template_of
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.models.request import HandOver

SPLITS = ("search", "validation", "test")

Counts = int | Mapping[str, int]
"""How many numbers there are, or how many of each split."""


def external_task(
    function: str,
    name: str | None = None,
    measure: str | None = None,
    unit: str | Mapping[str, str] = "points",
    items: Counts = 1,
    objectives: Sequence[str] | Mapping[str, Counts] | None = None,
    weights: Mapping[str, float] | None = None,
    data: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    splits: Sequence[str] = (),
    directory: str | None = None,
    key: str = "fitness",
) -> Any:
    """Make a task of a function of the user's own.

    The function is given the directory of each candidate, a whole checkpoint as an export is. It
    returns a number, or a list with a number for each item, or a mapping of objectives to either.
    Larger is better. It is told the name of the split and the path of its data where it has
    parameters called ``split`` and ``data``.

    Args:
        function: The function, as ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``.
        name: What results tables call the task; by default, the name of the function.
        measure: What is measured; by default, the name of the function.
        unit: The unit of the numbers, or of those of each objective.
        items: How many numbers the function gives; by split, where they differ.
        objectives: The names of the objectives, if the function gives a mapping. As a mapping, how
            many numbers each has.
        weights: The weight of each objective in the fitness of strategies that want one number.
        data: The file or folder of the search split.
        validation: That of the validation split.
        test: That of the test split.
        splits: Which of ``validation`` and ``test`` the function knows without such a file.
        directory: Where candidates are written; by default, on the RAM disk if it has room.
        key: The configuration's key of the task.

    Returns:
        An `ExternalTask`, or `SeveralTasks` of them where there are several objectives.

    Raises:
        ValueError: The function is not there or takes something else, or an argument makes no
            sense.
    """
    own = load_own(function, f"{key}.function")
    called = name or own.spec.replace(":", ".").rpartition(".")[2]
    paths = {"search": data, "validation": validation, "test": test}
    files = {s: _path(p, f"{key}.{s if s != 'search' else 'data'}") for s, p in paths.items() if p}
    for split in splits:
        if split not in SPLITS[1:]:
            raise ValueError(f"{key}.splits names {shown(split)}; name validation, test, or both")
    known = tuple(s for s in SPLITS if s == "search" or s in files or s in splits)
    measured = Measured(own, key, None if directory is None else _home(directory, key))
    counts = _objectives(objectives, items, key)
    units = dict.fromkeys(counts, unit) if isinstance(unit, str) else dict(unit)
    for one in units if isinstance(unit, Mapping) else ():
        if one not in counts:
            raise ValueError(f"{key}.unit: there is no objective {one!r}{nearest(one, counts)}")
    made: dict[str, Any] = {
        one: ExternalTask(
            called if len(counts) == 1 else one,
            Measure(one or measure or called, units.get(one, "points")),
            measured,
            one,
            count,
            files,
            known,
        )
        for one, count in counts.items()
    }
    if len(made) > 1:
        return SeveralTasks(made, weights, name=called)
    if weights is not None:
        raise ValueError(f"{key}.weights: there is one number; weights are for several objectives")
    return next(iter(made.values()))


class ExternalTask:
    """One objective of a function of the user's own.

    Attributes:
        name: What results tables call the task.
        current_split: The split that is measured.
        splits: The splits that there are.
    """

    def __init__(
        self,
        name: str,
        measure: Measure,
        measured: Measured,
        objective: str,
        count: Counts,
        files: Mapping[str, Path],
        splits: tuple[str, ...],
    ) -> None:
        self.name, self.splits, self.current_split = name, splits, "search"
        self._measure, self._measured, self._objective = measure, measured, objective
        self._files = files
        self._counts = dict.fromkeys(splits, count) if isinstance(count, int) else dict(count)
        for split in splits:
            if split not in self._counts:
                raise ValueError(
                    f"{measured.key}.items does not say how many numbers the {split} split has"
                )

    @property
    def measure(self) -> Measure:
        """What the numbers are; a single one stands for itself and has no interval."""
        return self._measure._replace(sampled=len(self) > 1)

    def __len__(self) -> int:
        return self._counts[self.current_split]

    def on(self, split: str) -> "ExternalTask":
        """The same function on another split.

        Raises:
            ValueError: There is no such split.
        """
        if split not in self.splits:
            key = self._measured.key
            raise ValueError(
                f"{self.name}: no {split} split; give {key}.{split}=PATH, or {key}.splits=[{split}]"
            )
        task = copy.copy(self)
        task.current_split = split
        return task

    def bind(self, model: Any) -> "BoundExternal":
        """Make the task ready for models like this one.

        Raises:
            ValueError: Several processes take part.
        """
        if jax.process_count() > 1:
            raise ValueError(
                f"{self._measured.key}: a measure of your own sees one candidate after another, by "
                f"one process, and these are {jax.process_count()}; give distributed.enabled=false"
            )
        split = self.current_split
        wanted = {self._objective: len(self)}
        call = Call(self._measured, template_of(model), split, self._files.get(split), wanted)
        return BoundExternal(call)


class BoundExternal:
    """A function of the user's own, for models like one; several objectives take one call."""

    divisible = False

    def __init__(self, call: Call) -> None:
        self.call = call
        self.request = HandOver(call)
        self.batches: tuple[Batch, ...] = (HandedBatch(np.arange(len(self), dtype=np.int32)),)

    def __len__(self) -> int:
        return sum(self.call.wanted.values())

    def has_worked(self) -> None:
        """Take a failure for the candidate's, as where a search goes on that had results."""
        self.call.measured.has_worked()

    def alike(self, other: Any) -> bool:
        """Whether another objective comes from the same call."""
        if not isinstance(other, BoundExternal):
            return False
        same = other.call.measured is self.call.measured
        return same and other.call.split == self.call.split

    def joined(self, others: Sequence["BoundExternal"]) -> "BoundExternal":
        """The objectives together, from one call for each candidate."""
        wanted = dict(self.call.wanted)
        for other in others:
            wanted |= other.call.wanted
        call = self.call
        return BoundExternal(Call(call.measured, call.template, call.split, call.data, wanted))

    def share(self, outputs: Sequence[Any]) -> Iterable[Sequence[Any]]:
        """The numbers of each objective."""
        ends = np.cumsum(list(self.call.wanted.values()))[:-1]
        return [(part,) for part in np.split(np.asarray(outputs[0]), ends, axis=1)]

    def score(
        self, outputs: Sequence[Float32[np.ndarray, "pop items"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """The numbers as they are."""
        return np.array(outputs[0], np.float32)

    def details(
        self, outputs: Sequence[Float32[np.ndarray, "pop items"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """The numbers as they are."""
        numbers = np.asarray(outputs[0])[candidate]
        return [{"item": item, "result": float(one)} for item, one in enumerate(numbers)]

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "BoundExternal":
        """Refuse, since the function gives its numbers together."""
        del rows
        raise ValueError(
            f"{self.call.measured.key}: a measure of your own gives all of its numbers"
        )


def _objectives(
    given: Sequence[str] | Mapping[str, Counts] | None, items: Counts, key: str
) -> dict[str, Counts]:
    """How many numbers each objective has, by name; the name "" where there are no names."""
    if given is None:
        return {"": _checked(items, f"{key}.items")}
    if isinstance(given, Mapping):
        found = {
            str(one): _checked(n, f"{key}.objectives.{named(one)}") for one, n in given.items()
        }
    elif isinstance(given, Sequence) and not isinstance(given, str):
        found = {str(one): _checked(items, f"{key}.items") for one in given}
    else:
        raise ValueError(f"{key}.objectives is {shown(given)}; give a list of names")
    if not found or "" in found or len(found) < len(given):
        raise ValueError(
            f"{key}.objectives is {shown(given)}; give names, each once and none empty"
        )
    return found


def _checked(given: Any, where: str) -> Counts:
    if not isinstance(given, Mapping):
        return check_whole(where, given, 1)
    for split in given:
        if split not in SPLITS:
            raise ValueError(f"{where}: there is no split {shown(split)}; use {', '.join(SPLITS)}")
    return {split: check_whole(f"{where}.{split}", one, 1) for split, one in given.items()}


def _path(given: Any, where: str) -> Path:
    """The absolute path of data, which must be there."""
    if not isinstance(given, str):
        raise ValueError(f"{where} is {shown(given)}; give the path of a file or a folder")
    path = _home(given, where).absolute()
    if not path.exists():
        others = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ValueError(f"{where}: {named(given)}: no such file{nearest(path.name, others)}")
    return path


def _home(given: Any, where: str) -> Path:
    try:
        return at_home(given)
    except (DocumentError, TypeError) as error:
        raise ValueError(f"{where} is {shown(given)}: {error}") from None
