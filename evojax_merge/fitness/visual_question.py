"""Questions about pictures, and answers in text that are judged by those that are known."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int

from evojax_merge.fitness.base import (
    Batch,
    GenerateBatch,
    SeenBatch,
)
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.judging import JudgedAnswers, JudgedTask
from evojax_merge.fitness.picture_fields import PictureFields
from evojax_merge.fitness.picture_prompts import PLACE
from evojax_merge.fitness.prompted import first_answer
from evojax_merge.fitness.seeing import SeeingTask


@dataclasses.dataclass(kw_only=True)
class VisualQuestionTask(SeeingTask, JudgedTask):
    """How well answers to questions about pictures agree with those that are known.

    Attributes:
        template: The prompt, with fields of the item in braces and ``<image>`` in the place of each
            picture. With ``chat`` the parts between pictures are those of a user's turn.
    """

    usual_score: ClassVar[str] = "rouge_l"
    always_in_language: ClassVar[bool] = False

    template: str = f"{PLACE}\n{{question}}"
    image: str | None = "image"
    name: str = "visual_question"

    def __post_init__(self) -> None:
        if self.image is None:
            raise ValueError(f"{self.name}: image is null; name the field of the picture's path")
        super().__post_init__()

    def check(self, records: tuple[Record, ...]) -> None:
        for record in records:
            self.check_pictures(record, self.prefix + self.own_text(record))
            self.case_of(record)

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


class BoundVisualQuestion(JudgedAnswers):
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
        self._names = [[one.name for one in task.pictures_of(record)] for record in task.records]
        self._fields = fields
        super().__init__(task, encoder, prompts, encoded)

    @functools.cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, one per length bucket."""
        return tuple(
            self._batch(batch, rows) for rows, batch in zip(self._rows, self._text, strict=True)
        )

    def _batch(self, text: GenerateBatch, rows: Int[np.ndarray, " batch"]) -> Batch:
        fields = self._fields.fields(self._items[rows], text.tokens.shape[1])
        return SeenBatch(text, *fields)

    def _shown(self, item: int) -> dict[str, Any]:
        return {"pictures": self._names[item]}
