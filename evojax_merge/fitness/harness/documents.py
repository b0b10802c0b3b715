"""Which documents of a task of the harness belong to which split of a search."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.splits import check_undivided, divide

ROLES = ("training", "validation", "test")
"""What the harness calls the splits of its tasks; each has a name of its own in the data."""


class Wanted(NamedTuple):
    """Which documents are wanted for which split.

    Attributes:
        names: The names of splits of the data by the splits of a search. Those with None have the
            default.
        shares: The shares of one split of the data for the splits of a search, or None.
        seed: The seed of that division.
        limit: How many documents of each split of the data are used at most, the first ones.
    """

    names: Mapping[str, str | None]
    shares: Sequence[float] | None
    seed: int
    limit: int | None


class Share(NamedTuple):
    """Documents of one split of the data.

    Attributes:
        name: The name of the split in the data, or its role where it has no name.
        rows: The places of the documents among those of that split.
    """

    name: str
    rows: Int[np.ndarray, " documents"]


class Documents:
    """The documents of a task of the harness.

    Args:
        task: The task.
        wanted: Which of them are wanted for which split.

    Attributes:
        evaluated: The split of the data that the harness itself evaluates: that for the test, or
            else that for validation.
        shares: The documents of each split of a search that has some.

    Raises:
        ValueError: The data has no such split, or a split would be without items.
    """

    def __init__(self, task: Any, wanted: Wanted) -> None:
        self._task, self._limit = task, wanted.limit
        self._known: dict[str, list[Any]] = {}
        self.evaluated = self._name("test" if task.has_test_docs() else "validation")
        self.shares = self._divided(wanted) if wanted.shares is not None else self._named(wanted)

    def of(self, name: str) -> list[Any]:
        """The documents of a split of the data, of which there may be a limited number."""
        if name not in self._known:
            self._known[name] = list(islice(self._read(name), self._limit))
            if not self._known[name]:
                raise ValueError(f"{self._task.task_name}: the split {name!r} has no documents")
        return self._known[name]

    def contents(self, split: str) -> list[bytes]:
        """What is the same for equal documents, of each document of a split of a search."""
        name, rows = self.shares[split]
        return [_content(self.of(name)[row]) for row in rows]

    def _named(self, wanted: Wanted) -> dict[str, Share]:
        label = self._task.task_name
        check_undivided(wanted.seed, label)
        names = dict(wanted.names)
        names["test"] = names["test"] or self.evaluated
        names["search"] = names["search"] or self._not_evaluated()
        shares = {}
        for split, name in names.items():
            if name is not None:
                canonical = self._canonical(name, f"fitness.{split}_split")
                shares[split] = Share(canonical, np.arange(len(self.of(canonical))))
        return shares

    def _divided(self, wanted: Wanted) -> dict[str, Share]:
        label = self._task.task_name
        given = [f"{split}_split" for split in ("validation", "test") if wanted.names[split]]
        if given:
            raise ValueError(
                f"{label}: fitness.split divides the documents of one split, and "
                f"fitness.{given[0]} names another; leave one of them out"
            )
        name = self._canonical(wanted.names["search"] or self.evaluated, "fitness.search_split")
        documents = self.of(name)
        assert wanted.shares is not None
        parts = divide(list(map(_content, documents)), wanted.shares, wanted.seed, label, {})
        return {split: Share(name, np.array(places)) for split, places in parts.items()}

    def _not_evaluated(self) -> str | None:
        """The split that a search may go by, as the harness does not evaluate it."""
        if self._task.has_training_docs():
            return self._name("training")
        both = self._task.has_test_docs() and self._task.has_validation_docs()
        return self._name("validation") if both else None

    def _name(self, role: str) -> str:
        return getattr(self._task.config, f"{role}_split", None) or role

    def _roles(self) -> dict[str, str]:
        """The roles of splits by their names in the data."""
        has = {role: getattr(self._task, f"has_{role}_docs")() for role in ROLES}
        return {self._name(role): role for role in reversed(ROLES) if has[role]}

    def _canonical(self, name: str, key: str) -> str:
        """The name of a split in the data, which may have been given by its role."""
        roles = self._roles()
        if name in roles:
            return name
        for known, role in roles.items():
            if name == role:
                return known
        others = _further(self._task)
        if name in others:
            return name
        known_names = list(dict.fromkeys([*roles, *others]))
        raise ValueError(
            f"{self._task.task_name}: {key} is {name!r}; its data has the splits "
            f"{', '.join(known_names)}{nearest(name, known_names)}"
        )

    def _read(self, name: str) -> Any:
        role = self._roles().get(name)
        if role is not None:
            return getattr(self._task, f"{role}_docs")()
        process = self._task.config.process_docs
        found = self._task.dataset[name]
        return found if process is None else process(found)


def _further(task: Any) -> list[str]:
    """The splits of the data that a task without code of its own can be read from."""
    from lm_eval.api.task import ConfigurableTask

    return list(task.dataset) if isinstance(task, ConfigurableTask) else []


def _content(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, default=str).encode()
