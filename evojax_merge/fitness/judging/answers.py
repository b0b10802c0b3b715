"""The results of a population's answers, of which equal ones are judged once."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Integer

from evojax_merge.fitness.answering import Answers
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.judging.task import JudgedTask

_WRONG = -1
"""The code of values that are no item's known answer."""


class JudgedAnswers(Answers):
    """Prompts as arrays, and the judge of what a population wrote."""

    def __init__(
        self,
        task: JudgedTask,
        encoder: Encoder,
        prompts: Sequence[str],
        encoded: Sequence[Sequence[int]],
    ) -> None:
        self._judge = task.judging
        self._cases = [task.case_of(record) for record in task.records]
        self._items = np.arange(len(encoded))
        if self._judge.equality is not None:
            # Equal values have equal codes; one that is no item's known answer needs none.
            values = [[one.value for one in case.known] for case in self._cases]
            known = dict.fromkeys(itertools.chain.from_iterable(values))
            self._codes = {value: code for code, value in enumerate(known)}
            most = max(map(len, values))
            padded = [(own * most)[:most] for own in values]
            self._right = np.array([[self._codes[value] for value in own] for own in padded])
        super().__init__(task, encoder, prompts, encoded)

    def _choose(self, rows: Int[np.ndarray, " chosen"]) -> None:
        super()._choose(rows)
        self._items = self._items[rows]

    def score(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """What each answer is worth; of answers that are right or wrong, 1 or 0."""
        found = np.zeros((len(outputs[0]), len(self)), np.float32)
        for rows, tokens in zip(self._rows, outputs, strict=True):
            found[:, rows] = self._results(np.asarray(tokens), self._items[rows])
        return found

    def _results(
        self, tokens: Integer[np.ndarray, "pop batch new"], items: Int[np.ndarray, " batch"]
    ) -> Float[np.ndarray, "pop batch"]:
        if self._judge.equality is None:
            return self._verdicts(tokens, items, self._scores_of)
        codes = self._verdicts(tokens, np.zeros_like(items), self._codes_of)
        return (codes[..., None] == self._right[items]).any(axis=-1).astype(np.float64)

    def details(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """Prompt, text, known answers, language and score of each item."""
        found: list[dict[str, Any]] = [{} for _ in range(len(self))]
        for rows, tokens in zip(self._rows, outputs, strict=True):
            texts = self._texts(np.asarray(tokens)[candidate])
            cases = [self._cases[item] for item in self._items[rows]]
            verdicts = self._judge(texts, cases)
            for row, text, case, verdict in zip(rows, texts, cases, verdicts, strict=True):
                found[row] = {
                    "item": int(row),
                    "prompt": self._prompts[row],
                    **self._shown(int(self._items[row])),
                    "text": text,
                    "references": [one.text for one in case.known],
                    "in_language": self._judge.in_language(text),
                    "score": verdict.score,
                    **({"note": verdict.note} if verdict.note else {}),
                }
        return found

    def _shown(self, item: int) -> dict[str, Any]:
        """What else details say of an item."""
        return {}

    def _scores_of(self, texts: Sequence[str], items: Sequence[int]) -> list[float]:
        return self._judge.agreed(texts, [self._cases[item] for item in items])

    def _codes_of(self, texts: Sequence[str], items: Sequence[int]) -> list[float]:
        """The codes of the values of texts, which are the same whatever items they answer."""
        return list(map(self._code, texts))

    def _code(self, text: str) -> int:
        assert self._judge.equality is not None
        value = self._judge.equality.of_text(text)
        code = _WRONG if value is None else self._codes.get(value, _WRONG)
        return _WRONG if code != _WRONG and self._judge.in_language(text) is False else code
