"""Questions about pictures, and answers in text that are judged by those that are known."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Integer

from evojax_merge.documents.arguments import check_text
from evojax_merge.fitness.answering import AnsweringTask, Answers
from evojax_merge.fitness.base import (
    Batch,
    GenerateBatch,
    Measure,
    SeenBatch,
)
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.judging import Judge, Known
from evojax_merge.fitness.language import as_language
from evojax_merge.fitness.picture_fields import PictureFields
from evojax_merge.fitness.picture_prompts import PLACE
from evojax_merge.fitness.prompted import first_answer
from evojax_merge.fitness.seeing import SeeingTask


@dataclasses.dataclass(kw_only=True)
class VisualQuestionTask(SeeingTask, AnsweringTask):
    """How well answers to questions about pictures agree with those that are known.

    Attributes:
        template: The prompt, with fields of the item in braces and ``<image>`` in the place of each
            picture. With ``chat`` the parts between pictures are those of a user's turn.
        reference: The field of the right answer, or of a list of right answers.
        score: How answers are judged, one of `evojax_merge.fitness.judging.SCORES`.
        words: How ROUGE-L cuts texts, see `evojax_merge.fitness.words.chosen_words`.
        extract: How numbers are found and compared, for ``score="number"``.
        measure: What the results are.
    """

    template: str = f"{PLACE}\n{{question}}"
    image: str | None = "image"
    reference: str = "answer"
    score: str = "rouge_l"
    words: str = "auto"
    extract: str = "normalized"
    name: str = "visual_question"
    measure: Measure = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        if self.image is None:
            raise ValueError(f"{self.name}: image is null; name the field of the picture's path")
        check_text(f"{self.name}: reference", self.reference, empty=False)
        language = as_language(self.language)
        self.judge = Judge(self.score, self.extract, self.words, language, self.name)
        self.measure = self.judge.measure
        super().__post_init__()

    def check(self, records: tuple[Record, ...]) -> None:
        for record in records:
            self.check_pictures(record, self.prefix + self.own_text(record))
            self.known_of(record)

    def bind(self, model: Any) -> "BoundVisualQuestion":
        """Prepare prompts and pictures for models like this one.

        Raises:
            DataError: A picture cannot be read, or an item does not fit the model.
            CheckpointError: The checkpoint has no image processor, or one of another model.
            ValueError: The model does not see, it has no tokenizer or chat template, or a prompt
                and its answer do not fit into its context.
        """
        sights = self.seen_by(model)
        assert sights is not None
        encoder = Encoder(model, self.name)
        texts = self.prompts(encoder, sights)
        encoded = [sights.expanded(item, ids) for item, ids in enumerate(encoder(texts))]
        self.check_prompts(encoder, texts, encoded)
        fields = sights.fields(list(map(len, encoded)), range(len(encoded)))
        return BoundVisualQuestion(self, encoder, texts, encoded, fields, sights.token_id)

    def answer_of(self, example: Record) -> str:
        return first_answer(example, self.reference)

    def known_of(self, record: Record) -> tuple[Known, ...]:
        """The answers of an item that are known to be right.

        Raises:
            DataError: There is none, or one is neither a text nor a number, is blank, or cannot be
                compared.
        """
        given = record.field(self.reference)
        answers = given if isinstance(given, list) else [given]
        if not answers:
            raise DataError(
                f"{record.place}: field {self.reference!r} is an empty list; give an answer, or "
                "leave the item out"
            )
        for one in answers:
            record._replace(fields={self.reference: one}).text(self.reference)
        try:
            return tuple(map(self.judge.known, answers))
        except ValueError as error:
            raise DataError(f"{record.place}: field {self.reference!r}: {error}") from error


class BoundVisualQuestion(Answers):
    """Prompts and pictures as arrays, and the judge of what a population wrote.

    Features that are the same for all candidates are computed when ``batches`` is first read.
    """

    def __init__(
        self,
        task: VisualQuestionTask,
        encoder: Encoder,
        prompts: Sequence[str],
        encoded: Sequence[Sequence[int]],
        fields: PictureFields,
        image_token_id: int,
    ) -> None:
        self.image_token_id = image_token_id
        self._judge = task.judge
        self._known = [task.known_of(record) for record in task.records]
        self._shown = [[one.name for one in task.pictures_of(record)] for record in task.records]
        self._fields, self._items = fields, np.arange(len(encoded))
        super().__init__(task, encoder, prompts, encoded)

    def _choose(self, rows: Int[np.ndarray, " chosen"]) -> None:
        super()._choose(rows)
        self._items = self._items[rows]

    @functools.cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, one per length bucket."""
        return tuple(
            self._batch(batch, rows) for rows, batch in zip(self._rows, self._text, strict=True)
        )

    def _batch(self, text: GenerateBatch, rows: Int[np.ndarray, " batch"]) -> Batch:
        fields = self._fields.fields(self._items[rows], text.tokens.shape[1])
        return SeenBatch(text, *fields)

    def score(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """How well each answer agrees with the best of its item's known answers, from 0 to 1."""
        found = np.zeros((len(outputs[0]), len(self)), np.float32)
        for rows, tokens in zip(self._rows, outputs, strict=True):
            items = self._items[rows]
            found[:, rows] = self._verdicts(np.asarray(tokens), items, self._score_of)
        return found

    def details(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """Prompt, pictures, text, known answers, language and score of each item."""
        found: list[dict[str, Any]] = [{} for _ in range(len(self))]
        for rows, tokens in zip(self._rows, outputs, strict=True):
            texts = self._texts(np.asarray(tokens)[candidate])
            for row, text in zip(rows, texts, strict=True):
                item = self._items[row]
                found[row] = {
                    "item": int(row),
                    "prompt": self._prompts[row],
                    "pictures": self._shown[item],
                    "text": text,
                    "references": [one.text for one in self._known[item]],
                    "in_language": self._judge.in_language(text),
                    "score": self._score_of(text, item),
                }
        return found

    def _score_of(self, text: str, item: int) -> float:
        return self._judge(text, self._known[item])
