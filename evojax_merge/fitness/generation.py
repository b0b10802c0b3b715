"""Right answers in generated text, as in Akiba et al., arXiv 2403.13187, section 4.1.

An item is right when the answer extracted from the continuation of its prompt equals the
reference and the text is in the wanted language.
"""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int, Integer

from evojax_merge.documents.arguments import check_text
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.answering import AnsweringTask, Answers
from evojax_merge.fitness.base import ACCURACY, Measure
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.numbers import EXTRACTORS, Extractor
from evojax_merge.fitness.references import Text, TextReferences, text_references
from evojax_merge.fitness.text import fill

_WRONG = -1


@dataclasses.dataclass(kw_only=True)
class GenerationTask(AnsweringTask):
    """Accuracy of generated answers.

    Attributes:
        reference: The field of the right answer.
        reference_text: The whole text of a right answer, with fields of the item in braces, for
            strategies that follow its likelihood; by default, the field of the right answer.
        extract: How the answer is found and compared, a key of `EXTRACTORS`.
    """

    reference: str = "answer"
    reference_text: str | None = None
    extract: str = "normalized"
    name: str = "generation"
    measure: ClassVar[Measure] = ACCURACY

    def __post_init__(self) -> None:
        if not isinstance(self.extract, str) or self.extract not in EXTRACTORS:
            raise ValueError(
                f"{self.name}: no extract mode {self.extract!r}; the modes are "
                f"{', '.join(EXTRACTORS)}{nearest(self.extract, EXTRACTORS)}"
            )
        check_text(f"{self.name}: reference", self.reference)
        super().__post_init__()

    def check(self, records: tuple[Record, ...]) -> None:
        for record in records:
            self.own_text(record)
            self._canonical_reference(record)
            if self.reference_text is not None:
                fill(self.reference_text, record)

    def bind(self, model: Any) -> "BoundGeneration":
        """Tokenise the prompts for models like this one.

        Raises:
            ValueError: There is no tokenizer, or no chat template where one is asked for, or a
                prompt and its answer do not fit into the model's context.
        """
        encoder = Encoder(model, self.name)
        prompts = self.prompts(encoder)
        encoded = encoder(prompts)
        self.check_prompts(encoder, prompts, encoded)
        return BoundGeneration(
            self,
            encoder,
            prompts,
            encoded,
            references=[self._canonical_reference(record) for record in self.records],
        )

    def answer_of(self, example: Record) -> str:
        return self.answer_text(example)

    def answer_text(self, record: Record) -> str:
        """The whole text of an item's right answer.

        Raises:
            DataError: The item has no such text.
        """
        if self.reference_text is None:
            text = record.text(self.reference)
        else:
            text = fill(self.reference_text, record)
        if not text:
            raise DataError(f"{record.place}: the right answer has no text")
        return text

    def _canonical_reference(self, record: Record) -> Hashable:
        try:
            record.text(self.reference)
            return EXTRACTORS[self.extract].reference(record.field(self.reference))
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"{record.place}: field {self.reference!r}: {error}") from error


class BoundGeneration(Answers):
    """Prompts as arrays, and the judge of what a population wrote."""

    def __init__(
        self,
        task: GenerationTask,
        encoder: Encoder,
        prompts: Sequence[str],
        encoded: Sequence[Sequence[int]],
        references: Sequence[Hashable],
    ) -> None:
        super().__init__(task, encoder, prompts, encoded)
        self._answer_text = task.answer_text
        self._extractor: Extractor = EXTRACTORS[task.extract]
        self._references = references
        # Equal answers have equal codes; an answer that is no item's reference needs none.
        self._codes = {answer: code for code, answer in enumerate(dict.fromkeys(references))}
        self._reference_codes = np.array([self._codes[one] for one in references])

    def _choose(self, rows: Int[np.ndarray, " chosen"]) -> None:
        super()._choose(rows)
        self._references = [self._references[row] for row in rows]
        self._reference_codes = self._reference_codes[rows]

    def score(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """1 where an answer is right, 0 elsewhere."""
        right = np.zeros((len(outputs[0]), len(self)), np.float32)
        for rows, tokens in zip(self._rows, outputs, strict=True):
            codes = self._verdicts(np.asarray(tokens), np.zeros_like(rows), self._code)
            right[:, rows] = codes == self._reference_codes[rows]
        return right

    def details(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """Prompt, text, extracted answer, reference, language and verdict of each item."""
        found: list[dict[str, Any]] = [{} for _ in range(len(self))]
        for rows, tokens in zip(self._rows, outputs, strict=True):
            texts = self._texts(np.asarray(tokens)[candidate])
            for row, text in zip(rows, texts, strict=True):
                answer, in_language = self._extractor.answer(text), self._in_language(text)
                right = answer == self._references[row] and in_language is not False
                found[row] = {
                    "item": int(row),
                    "prompt": self._prompts[row],
                    "text": text,
                    "answer": None if answer is None else str(answer),
                    "reference": str(self._references[row]),
                    "in_language": in_language,
                    "right": right,
                }
        return found

    def references(self) -> tuple[TextReferences, ...]:
        """Each prompt with the text of a right answer, whose tokens count alike, and its end.

        The end is the end token where the tokenizer has one and no ``stop`` cuts the text. Prompt
        and text are encoded together; what is scored begins where that departs from the prompt.

        Raises:
            ValueError: An item lacks its text, or it is longer with its prompt than the model's
                context.
        """
        encoder = self._encoder
        texts = map(self._answer_text, self._records)
        whole = encoder([a + b for a, b in zip(self._prompts, texts, strict=True)])
        end = [] if self._stop else list(encoder.eos_ids[:1])
        items = []
        for record, prompt, joint in zip(self._records, self._encoded, whole, strict=True):
            pairs = enumerate(zip(prompt, joint, strict=False))
            known = next((at for at, (a, b) in pairs if a != b), min(len(prompt), len(joint) - 1))
            ids = [*joint, *end]
            remedy = "shorten the prompt or fitness.reference_text"
            encoder.require_context(len(ids), f"{record.place}: prompt with answer", remedy)
            known = max(known, 1)
            items.append([Text(ids, known, 1 / (len(ids) - known))])
        return text_references(
            items, np.zeros(len(items), int), self.request.pad_id, len(self.batches)
        )

    def _code(self, text: str, _: int) -> int:
        """The code of the answer in a text, which is the same whatever item it answers."""
        answer = self._extractor.answer(text)
        code = _WRONG if answer is None else self._codes.get(answer, _WRONG)
        return _WRONG if code != _WRONG and self._in_language(text) is False else code
