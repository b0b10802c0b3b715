"""What tasks share whose answers are judged: the settings, and the choice of a score."""

import dataclasses
from typing import ClassVar

from evojax_merge.documents.arguments import check_option, check_switch, check_text
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.answering import AnsweringTask
from evojax_merge.fitness.base import FRACTION, Measure
from evojax_merge.fitness.data import Record
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
