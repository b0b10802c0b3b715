"""What tasks share whose answers are judged: the choice of a score, and results of a population."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int, Integer

from evojax_merge.documents.arguments import check_option, check_switch, check_text
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.answering import AnsweringTask, Answers
from evojax_merge.fitness.base import FRACTION, Measure
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.judging.chat_judge import ChatJudge
from evojax_merge.fitness.judging.code import PROGRAM, CodeScore
from evojax_merge.fitness.judging.f1 import f1_score
from evojax_merge.fitness.judging.json_answers import JsonScore
from evojax_merge.fitness.judging.judge import Judge
from evojax_merge.fitness.judging.own_function import OwnFunction
from evojax_merge.fitness.judging.patterns import regex_score
from evojax_merge.fitness.judging.score import Case, Comparison, Equality, Score
from evojax_merge.fitness.judging.sets import SetScore
from evojax_merge.fitness.language import as_language
from evojax_merge.fitness.numbers import EXTRACTORS
from evojax_merge.fitness.rouge import rouge_l
from evojax_merge.fitness.words import WORDS, chosen_words

SCORES = (
    "number",
    "exact",
    "contains",
    "regex",
    "f1",
    "rouge_l",
    "set",
    "json",
    "code",
    "judge",
    "function",
)
"""What an answer can be judged by.

- ``number``: the number in the text equals an answer; see `evojax_merge.fitness.numbers`, whose
  modes find other things, too.
- ``exact``: the whole text equals an answer, without surrounding white space.
- ``contains``: an answer stands in the text.
- ``regex``: a regular expression is found in the text, or finds an answer in it.
- ``f1``: words in common, see `evojax_merge.fitness.judging.f1`.
- ``rouge_l``: words in common in the same order, see `evojax_merge.fitness.rouge`.
- ``set``: the text names the same things as an answer, in any order.
- ``json``: a part of the JSON in the text equals an answer.
- ``code``: the code in the text passes tests.
- ``judge``: a language model says how good the text is.
- ``function``: a function of the user's own says so.
"""

_WRONG = -1


@dataclasses.dataclass(kw_only=True)
class JudgedTask(AnsweringTask):
    """Items whose answers are judged by one of `SCORES`.

    Attributes:
        reference: The field of the right answer, or of a list of right answers.
        score: How answers are judged; by default ``function``, ``judge`` or ``code`` where one is
            named or allowed, and else what the task is for.
        extract: How the answer is found for ``number``, a key of
            `evojax_merge.fitness.numbers.EXTRACTORS`.
        words: How ``rouge_l`` and ``f1`` cut texts, see `evojax_merge.fitness.words.chosen_words`
            and `evojax_merge.fitness.judging.f1.f1_score`.
        pattern: The regular expression of ``regex``; by default, the right answer is one.
        json_path: Where the answer is in the JSON; by default, it is the whole.
        function: A function of the user's own, as ``file.py:name``.
        function_of: What it is called with, ``answer`` or ``answers``, see
            `evojax_merge.fitness.judging.own_function`.
        run_code: Whether the programs that models write may be run, for ``code``.
        program: The program that is run, with ``{code}`` and fields of the item in braces.
        code_seconds: How many seconds of processor time a program may take.
        code_memory_gb: How much memory it may take, in 10**9 bytes.
        judge: The language model that judges.
        measure: What the results are.
    """

    usual_score: ClassVar[str] = "number"
    always_in_language: ClassVar[bool] = True

    reference: str = "answer"
    score: str | None = None
    extract: str = "normalized"
    words: str = "auto"
    pattern: str | None = None
    json_path: str | None = None
    function: str | None = None
    function_of: str = "answer"
    run_code: bool = False
    program: str = PROGRAM
    code_seconds: float = 10.0
    code_memory_gb: float = 1.0
    judge: ChatJudge | None = None
    measure: Measure = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        check_text(f"{self.name}: reference", self.reference, empty=False)
        check_switch(f"{self.name}: run_code", self.run_code)
        if not isinstance(self.extract, str) or self.extract not in EXTRACTORS:
            raise ValueError(
                f"{self.name}: no extract mode {self.extract!r}; the modes are "
                f"{', '.join(EXTRACTORS)}{nearest(self.extract, EXTRACTORS)}"
            )
        chosen = self._chosen()
        always = self.always_in_language or chosen == "number"
        self.judging = Judge(self._score(chosen), as_language(self.language), always)
        self.measure = self.judging.measure
        super().__post_init__()

    def case_of(self, record: Record) -> Case:
        """An item as answers to it are judged.

        Raises:
            DataError: It lacks what the score needs.
        """
        case = self.judging.case(record, self.reference)
        self.judging.score.check(record)
        return case

    def _chosen(self) -> str:
        """The name of the score."""
        given = {
            "function": self.function is not None,
            "judge": self.judge is not None,
            "code": self.run_code,
            "regex": self.pattern is not None,
            "json": self.json_path is not None,
        }
        chosen = self.score or next((name for name, own in given.items() if own), self.usual_score)
        check_option(f"{self.name}: score", chosen, SCORES)
        keys = {"code": "run_code", "regex": "pattern", "json": "json_path"}
        for name, own in given.items():
            if own and name != chosen:
                key = keys.get(name, name)
                raise ValueError(
                    f"{self.name}: {key} is for score={name}, and the score is {chosen}; leave one "
                    "of them out"
                )
        for name, key in (("function", "function=file.py:name"), ("judge", "judge=chat")):
            if chosen == name and not given[name]:
                separator = "/" if name == "judge" else "."
                raise ValueError(f"{self.name}: score={name} needs fitness{separator}{key}")
        return chosen

    def _score(self, chosen: str) -> Score:
        match chosen:
            case "number":
                extractor = EXTRACTORS[self.extract]
                return Equality(extractor.answer, extractor.reference, blank=True)
            case "exact":
                return Equality(EXTRACTORS["exact"].answer, EXTRACTORS["exact"].reference)
            case "contains":
                known = EXTRACTORS["exact"].reference
                return Comparison(lambda text: text, known, lambda a, b: float(a in b))
            case "regex":
                return regex_score(self.pattern, self.name)
            case "f1":
                return f1_score(self.words, self.name)
            case "rouge_l":
                cut = chosen_words(self.words, self.name)
                unit = {"characters": " of characters", "english": " of English"}.get(cut, "")
                segment = WORDS[cut]
                return Comparison(
                    segment,
                    lambda known: segment(str(known)),
                    rouge_l,
                    Measure(f"ROUGE-L{unit}", FRACTION),
                )
            case "set":
                return SetScore()
            case "json":
                return JsonScore(self.json_path, self.name)
            case "code":
                return CodeScore(
                    self.program, self.run_code, self.code_seconds, self.code_memory_gb, self.name
                )
            case "judge":
                assert self.judge is not None
                return self.judge
        assert self.function is not None
        return OwnFunction(self.function, self.function_of, self.name)


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
