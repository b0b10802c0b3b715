"""Worked examples that stand before every prompt, the same ones for all items."""

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

from evojax_merge.documents.arguments import check_text, check_whole
from evojax_merge.documents.errors import shown
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.formats import read_data
from evojax_merge.fitness.text import content_of, unescape


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewShot:
    """Which examples there are, and how they are written.

    Attributes:
        data: The file of the examples, as `evojax_merge.fitness.formats.read_data` takes it.
        k: How many of them are taken; by default, all.
        seed: The seed of which ones are taken and of their order; by default, the first ones in
            their order.
        template: A whole example, with fields in braces; by default, its prompt and its answer.
        answer: The answer of an example, with fields in braces; by default, as the task says.
        separator: The text after each example.
    """

    data: str
    k: int | None = None
    seed: int | None = None
    template: str | None = None
    answer: str | None = None
    separator: str = "\n\n"

    @classmethod
    def of(cls, given: Any, task: str) -> "FewShot | None":
        """The examples that a configuration describes, None where it names no data.

        Args:
            given: A mapping of the attributes above, or None.
            task: The name of the task in messages.

        Raises:
            ValueError: Something in it makes no sense.
        """
        if given is None or isinstance(given, FewShot):
            return given
        keys = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(given, Mapping):
            raise ValueError(
                f"{task}: few_shot is {shown(given)}; give few_shot.data, the file of examples"
            )
        for key in given:
            if key not in keys:
                known = ", ".join(keys)
                raise ValueError(
                    f"{task}: there is no few_shot.{key}; there are {known}{nearest(key, keys)}"
                )
        settings = {key: value for key, value in given.items() if value is not None}
        if "data" not in settings:
            others = [one for one in settings if one != "separator"]
            if others:
                raise ValueError(
                    f"{task}: few_shot.{others[0]} is given without few_shot.data; name the file "
                    "of the examples"
                )
            return None
        found = cls(**settings)
        found._check(task)
        return dataclasses.replace(found, separator=unescape(found.separator))

    def _check(self, task: str) -> None:
        for key in ("data", "template", "answer", "separator"):
            if (text := getattr(self, key)) is not None:
                check_text(f"{task}: few_shot.{key}", text, empty=key == "separator")
        if self.k is not None:
            check_whole(f"{task}: few_shot.k", self.k, 1)
        if self.seed is not None:
            check_whole(f"{task}: few_shot.seed", self.seed, 0)
        if self.template is not None and self.answer is not None:
            raise ValueError(
                f"{task}: few_shot.template writes the whole example, with its answer; leave "
                "few_shot.answer out"
            )

    def choose(
        self, items: Collection[Hashable], asked: Callable[[Record], Hashable], task: str
    ) -> tuple[Record, ...]:
        """The examples, of which none asks what an item asks.

        Args:
            items: What the items of all splits ask.
            asked: The function that says what an example asks.
            task: The name of the task in messages.

        Raises:
            DataError: The file is none of examples.
            ValueError: There are too few.
        """
        records = read_data(self.data)
        others = [record for record in records if asked(record) not in items]
        wanted = len(others) if self.k is None else self.k
        if len(others) < max(wanted, 1):
            passed = len(records) - len(others)
            raise ValueError(
                f"{task}: {wanted or 'some'} examples are wanted, and {self.data} has "
                f"{len(others)} of {len(records)}, as {passed} are items too; lower few_shot.k, or "
                "give other examples"
            )
        if self.seed is not None:
            seed = self.seed
            others.sort(key=lambda one: hashlib.sha256(b"%d " % seed + content_of(one)).digest())
        return tuple(others[:wanted])
