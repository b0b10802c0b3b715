"""A score that a Python function of the user's own gives to answers."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evojax_merge.documents.arguments import check_option
from evojax_merge.documents.errors import shown
from evojax_merge.documents.own_code import load_own, printed
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.judging.score import Case, Score, Verdict

CALLS = ("answer", "answers")


class OwnFunction(Score):
    """What a function makes of an answer and its item.

    An answer in another language than the wanted one is given as an empty text.

    Args:
        spec: The function, as ``file.py:name`` or ``module:name``.
        called_with: ``answer``: it is called with the text of an answer and the fields of its item,
            and gives a number or true or false. ``answers``: it is called with a list of texts and
            a list of items, and gives as many numbers.
        task: The name of the task in messages.

    Raises:
        ValueError: There is no such function, or no such way of calling.
    """

    compares = False
    outside = True

    def __init__(self, spec: str, called_with: str, task: str) -> None:
        check_option(f"{task}: function_of", called_with, CALLS)
        self._own = load_own(spec, f"{task}: function")
        self._together = called_with == "answers"
        self._where = f"{task}: function {printed(spec)}"
        self.measure = Measure(spec.replace(":", ".").rpartition(".")[2], "points")

    def known(self, value: Any) -> Any:
        """Nothing; the function reads the item itself."""
        return None

    def verdicts(
        self, answers: Sequence[str], cases: Sequence[Case], foreign: Sequence[bool]
    ) -> list[Verdict]:
        """Call the function.

        Raises:
            ValueError: It fails, or gives something else than finite numbers.
        """
        texts = ["" if other else text for text, other in zip(answers, foreign, strict=True)]
        items = [copy.deepcopy(case.record.fields) for case in cases]
        places = [case.record.place for case in cases]
        if self._together:
            given = self._given_of_all(texts, items)
        else:
            given = list(map(self._given, texts, items, places))
        return [
            Verdict(self._number(value, place, text))
            for value, place, text in zip(given, places, texts, strict=True)
        ]

    def _given(self, text: str, item: dict[str, Any], place: str) -> Any:
        try:
            return self._own.function(text, item)
        except Exception as error:
            raise ValueError(
                f"{self._where}, for the answer {shown(text)} to {place}: {self._own.failed(error)}"
            ) from error

    def _given_of_all(self, texts: list[str], items: list[dict[str, Any]]) -> list[Any]:
        try:
            given = list(self._own.function(texts, items))
        except Exception as error:
            raise ValueError(
                f"{self._where}, for {len(texts)} answers: {self._own.failed(error)}"
            ) from error
        if len(given) != len(texts):
            raise ValueError(
                f"{self._where}: gives {len(given)} numbers for {len(texts)} answers; it must give "
                "a number for each"
            )
        return given

    def _number(self, value: Any, place: str, text: str) -> float:
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        number = isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating)
        if not number or not math.isfinite(float(value)):
            raise ValueError(
                f"{self._where}: gives {shown(value)} for the answer {shown(text)} to {place}; it "
                "must give a finite number"
            )
        return float(value)
