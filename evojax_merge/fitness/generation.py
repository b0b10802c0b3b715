"""Right answers in generated text, as in Akiba et al., arXiv 2403.13187, section 4.1.

By default an item is right when the answer extracted from the continuation of its prompt equals the
reference and the text is in the wanted language. Other scores are those of
`evojax_merge.fitness.judging`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer

from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.judging import JudgedAnswers, JudgedTask
from evojax_merge.fitness.references import Text, TextReferences, text_references
from evojax_merge.fitness.text import fill


@dataclasses.dataclass(kw_only=True)
class GenerationTask(JudgedTask):
    """How good generated answers are, by default how many are right.

    With a condition on the language, an answer in another one counts as empty.

    Attributes:
        reference_text: The whole text of a right answer, with fields of the item in braces, for
            strategies that follow its likelihood; by default, the field of the right answer.
    """

    reference_text: str | None = None
    name: str = "generation"

    def check(self, records: tuple[Record, ...]) -> None:
        for record in records:
            self.own_text(record)
            self.case_of(record)
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
        return BoundGeneration(self, encoder, prompts, encoded)

    def answer_of(self, example: Record) -> str:
        return self.answer_text(example)

    def answer_text(self, record: Record) -> str:
        """The whole text of an item's right answer, the first one of several.

        Raises:
            DataError: The item has no such text.
        """
        if self.reference_text is None:
            given = record.field(self.reference)
            first = given[0] if isinstance(given, list) and given else given
            text = record._replace(fields={self.reference: first}).text(self.reference)
        else:
            text = fill(self.reference_text, record)
        if not text:
            raise DataError(f"{record.place}: the right answer has no text")
        return text


class BoundGeneration(JudgedAnswers):
    """Prompts as arrays, and the judge of what a population wrote."""

    def __init__(
        self,
        task: GenerationTask,
        encoder: Encoder,
        prompts: Sequence[str],
        encoded: Sequence[Sequence[int]],
    ) -> None:
        super().__init__(task, encoder, prompts, encoded)
        self._answer_text = task.answer_text

    def details(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """What is known of each item; of answers that are found in texts, that and the verdict."""
        found = super().details(outputs, candidate)
        if (equality := self._judge.equality) is None:
            return found
        for row, record in enumerate(found):
            answer, known = equality.of_text(record["text"]), self._cases[self._items[row]].known
            values = [str(one.value) for one in known]
            score = record.pop("score")
            del record["references"]
            record["answer"] = None if answer is None else str(answer)
            record["reference"] = values[0] if len(values) == 1 else values
            record["in_language"] = record.pop("in_language")
            record["right"] = score == 1 and record["in_language"] is not False
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
