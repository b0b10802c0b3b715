"""The likeliest of given choices, scored as lm-evaluation-harness does."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int

from evojax_merge.documents.arguments import check_text
from evojax_merge.documents.errors import shown
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import ACCURACY, Batch, Measure
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.likelihood import Likelihood
from evojax_merge.fitness.references import Text, TextReferences, text_references
from evojax_merge.fitness.seeing import SeeingTask, seen_likelihood

NORMALIZATIONS = ("none", "tokens", "characters")


@dataclasses.dataclass(kw_only=True)
class MultipleChoiceTask(SeeingTask):
    """Accuracy of choosing the continuation with the highest log-likelihood.

    Attributes:
        choices: The field with the list of choices, or a list of fields of which each has one.
        reference: The field of the right choice: its index from 0, its text, or its letter.
        delimiter: The text between context and choice; by default, a space, and nothing in a chat.
        normalize: What is compared: with ``none``, sums (the harness's ``acc``); with
            ``characters``, sums per character of the choice (``acc_norm``); with ``tokens``, sums
            per token.
    """

    choices: str | Sequence[str] = "choices"
    reference: str = "answer"
    delimiter: str | None = None
    normalize: str = "none"
    name: str = "multiple_choice"
    measure: ClassVar[Measure] = ACCURACY

    def __post_init__(self) -> None:
        if not isinstance(self.normalize, str) or self.normalize not in NORMALIZATIONS:
            raise ValueError(
                f"{self.name}: no normalization {self.normalize!r}; there are "
                f"{', '.join(NORMALIZATIONS)}{nearest(self.normalize, NORMALIZATIONS)}"
            )
        if self.delimiter is None:
            self.delimiter = "" if self.chat else " "
        for key in ("reference", "delimiter"):
            check_text(f"{self.name}: {key}", getattr(self, key))
        for field in [self.choices] if isinstance(self.choices, str) else self.choices:
            check_text(f"{self.name}: choices", field)
        super().__post_init__()

    def check(self, records: tuple[Record, ...]) -> None:
        for record in records:
            self.check_pictures(record, self.prefix + self.own_text(record))
            self._answer(record)

    def bind(self, model: Any) -> "BoundMultipleChoice":
        """Tokenise every pair of context and choice for models like this one.

        Raises:
            ValueError: There is no tokenizer, or a pair does not fit into the model's context.
        """
        sights = self.seen_by(model)
        encoder = Encoder(model, self.name)
        contexts = self.prompts(encoder, sights)
        choices = [self._choices(record) for record in self.records]
        owners = [item for item, texts in enumerate(choices) for _ in texts]
        pairs = encoder.pair(
            [contexts[item] for item in owners],
            [str(self.delimiter) + text for texts in choices for text in texts],
        )
        if sights is not None:
            pairs = sights.pairs(owners, pairs)
        for item, (ids, _) in zip(owners, pairs, strict=True):
            encoder.require_context(
                len(ids), f"{self.records[item].place}: question with choice", "shorten them"
            )
        return BoundMultipleChoice(
            likelihood=seen_likelihood(pairs, owners, encoder.pad, self.buckets, sights),
            contexts=contexts,
            choices=choices,
            answers=[self._answer(record) for record in self.records],
            normalize=self.normalize,
        )

    def answer_of(self, example: Record) -> str:
        return self._choices(example)[self._answer(example)]

    def between(self, prompt: str) -> str:
        return str(self.delimiter)

    def _choices(self, record: Record) -> list[str]:
        if isinstance(self.choices, str):
            where, choices = repr(self.choices), record.field(self.choices)
        else:
            where = " and ".join(map(repr, self.choices))
            choices = [record.text(field) for field in self.choices]
        texts = isinstance(choices, list) and all(isinstance(one, str) and one for one in choices)
        if not texts or len(choices) < 2:
            raise DataError(
                f"{record.place}: field {where} must be a list of two or more texts, "
                f"none empty; it is {shown(choices)}"
            )
        if len(set(choices)) < len(choices):
            twice = next(one for one in choices if choices.count(one) > 1)
            raise DataError(
                f"{record.place}: field {where} holds {shown(twice)} twice; the answer "
                "could be either of them"
            )
        return list(choices)

    def _answer(self, record: Record) -> int:
        choices, answer = self._choices(record), record.field(self.reference)
        if isinstance(answer, str):
            letters = [chr(ord("A") + number) for number in range(len(choices))]
            indices = list(map(str, range(len(choices))))  # of tables of texts
            for names in (choices, letters, indices):
                if answer in names:
                    return names.index(answer)
        elif type(answer) in (int, float) and answer in range(len(choices)):
            return int(answer)
        raise DataError(
            f"{record.place}: field {self.reference!r} is {shown(answer)}, which is neither an "
            f"index from 0 to {len(choices) - 1} nor one of the choices {shown(choices)} nor its "
            "letter"
        )


class BoundMultipleChoice:
    """Pairs of context and choice as arrays, and the judge of their log-likelihoods."""

    def __init__(
        self,
        likelihood: Likelihood,
        contexts: Sequence[str],
        choices: Sequence[Sequence[str]],
        answers: Sequence[int],
        normalize: str,
    ) -> None:
        self.request = likelihood.request
        self._likelihood = likelihood
        self._contexts, self._choices = contexts, choices
        self._answers = np.array(answers)
        counts = np.array([len(one) for one in choices])
        self._present = np.arange(counts.max()) < counts[:, None]
        lengths = {
            "none": np.ones(counts.sum()),
            "tokens": likelihood.counts,
            "characters": np.array([len(text) for one in choices for text in one]),
        }
        self._lengths = lengths[normalize].astype(np.float32)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, one per length bucket."""
        return self._likelihood.batches

    def __len__(self) -> int:
        return len(self._answers)

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "BoundMultipleChoice":
        """The same task on some of its items."""
        counts = self._present.sum(axis=1)
        first = np.cumsum(counts) - counts
        pairs = np.concatenate([np.arange(first[row], first[row] + counts[row]) for row in rows])
        part = copy.copy(self)
        part._likelihood = self._likelihood.take(pairs)
        part._contexts = [self._contexts[row] for row in rows]
        part._choices = [self._choices[row] for row in rows]
        part._answers = self._answers[rows]
        part._present = self._present[rows]
        part._lengths = self._lengths[pairs]
        return part

    def score(
        self, outputs: Sequence[Float[np.ndarray, "pop _"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """1 where the right choice is the likeliest, 0 elsewhere, NaN where one is NaN."""
        table = self._table(outputs)
        right = (table.argmax(-1) == self._answers).astype(np.float32)
        return np.where(np.isnan(table).any(-1), np.float32(np.nan), right)

    def details(
        self, outputs: Sequence[Float[np.ndarray, "pop _"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """The context, the choices, their values, the choice made and the right one of an item."""
        return [
            {
                "item": item,
                "prompt": self._contexts[item],
                "choices": list(choices),
                "values": [float(one) for one in values[: len(choices)]],
                "answer": choices[int(values.argmax())],
                "reference": choices[answer],
                "right": bool(values.argmax() == answer),
            }
            for item, (choices, values, answer) in enumerate(
                zip(self._choices, self._table(outputs)[candidate], self._answers, strict=True)
            )
        ]

    def references(self) -> tuple[TextReferences, ...]:
        """All choices of each item, each with its value among them.

        Raises:
            ValueError: Items have pictures.
        """
        self._likelihood.require_text("multiple_choice")
        texts = [
            Text(ids, known, 1 / float(length))
            for (ids, known), length in zip(self._likelihood.rows, self._lengths, strict=True)
        ]
        ends = np.cumsum(self._present.sum(axis=-1))
        items = [texts[end - len(own) : end] for end, own in zip(ends, self._choices, strict=True)]
        return text_references(items, self._answers, self._likelihood.pad, len(self.batches))

    def _table(
        self, outputs: Sequence[Float[np.ndarray, "pop _"]]
    ) -> Float32[np.ndarray, "pop items choices"]:
        values = self._likelihood.gather(outputs) / self._lengths
        table = np.full((len(values), *self._present.shape), -np.inf, np.float32)
        table[:, self._present] = values
        return table
