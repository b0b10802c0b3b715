"""How well texts are predicted: mean log-likelihood per token, which is −log perplexity."""

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int, Num

from evojax_merge.documents.arguments import check_text, check_whole
from evojax_merge.documents.errors import shown
from evojax_merge.fitness.base import Batch, Measure
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.likelihood import Likelihood
from evojax_merge.fitness.references import Text, TextReferences, text_references
from evojax_merge.fitness.seeing import SeeingTask, seen_likelihood


@dataclasses.dataclass(kw_only=True)
class PerplexityTask(SeeingTask):
    """The mean natural log-likelihood per token of each text, which is to be maximised.

    With ``template="{question}"`` and ``text=answer`` it measures how expected the right answers
    are, a smoother fitness than their accuracy.

    Attributes:
        text: The field of the text that is scored.
        template: What stands before the text and is not scored, with fields in braces.
        length: The number of tokens of the windows that longer sequences are cut into, each of
            which begins with the last token of the one before; by default, the model's context.
    """

    text: str = "text"
    template: str = ""
    length: int | None = None
    name: str = "log-likelihood"
    measure: ClassVar[Measure] = Measure("log-likelihood", "nats per token")

    def __post_init__(self) -> None:
        if self.length is not None:
            check_whole(f"{self.name}: length, in tokens,", self.length, 2)
        check_text(f"{self.name}: text", self.text)
        if self.chat and not self.template and self.messages is None:
            raise ValueError(
                f"{self.name}: chat needs something that a user says; give template, or messages"
            )
        super().__post_init__()

    def check(self, records: tuple[Record, ...]) -> None:
        for record in records:
            self.check_pictures(record, self.prefix + self.own_text(record))
            self.answer_of(record)

    def answer_of(self, example: Record) -> str:
        text = example.field(self.text)
        if not isinstance(text, str) or not text:
            raise DataError(
                f"{example.place}: field {self.text!r} must be a text that is not empty; "
                f"it is {shown(text)}"
            )
        return text

    def asked(self, record: Record) -> Hashable:
        return super().asked(record), self.answer_of(record)

    def between(self, prompt: str) -> str:
        return ""  # as between the context of an item and its text

    def bind(self, model: Any) -> "BoundPerplexity":
        """Tokenise the texts for models like this one.

        Raises:
            ValueError: There is no tokenizer, ``length`` exceeds the model's context, or a text
                has no token that has another before it.
        """
        sights = self.seen_by(model)
        encoder = Encoder(model, self.name)
        if self.length is not None:
            encoder.require_context(self.length, "a window", "lower fitness.length")
        contexts = self.prompts(encoder, sights)
        texts = [record.field(self.text) for record in self.records]
        rows: list[tuple[list[int], int]] = []
        owners: list[int] = []
        length = self.length or encoder.context
        pairs = encoder.pair(contexts, texts)
        if sights is not None:
            pairs = sights.pairs(range(len(pairs)), pairs)
        for item, (ids, known) in enumerate(pairs):
            if sights is not None and length is not None and len(ids) > length:
                raise DataError(
                    f"{self.records[item].place}: a text with pictures has {len(ids)} tokens, and "
                    f"cannot be cut into windows of {length}; shorten it"
                )
            windows = list(_windows(ids, known, length))
            rows += windows
            owners += [item] * len(windows)
        likelihood = seen_likelihood(rows, owners, encoder.pad, self.buckets, sights)
        return BoundPerplexity(likelihood, owners, texts)


class BoundPerplexity:
    """Windows of the texts as arrays, and their log-likelihoods put together by text.

    Attributes:
        tokens: The number of scored tokens of each item.
    """

    def __init__(self, likelihood: Likelihood, owners: Sequence[int], texts: Sequence[str]) -> None:
        self.request = likelihood.request
        self._likelihood = likelihood
        self._texts = texts
        self._first = np.flatnonzero(np.diff(owners, prepend=-1))
        self.tokens = np.add.reduceat(likelihood.counts, self._first)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, one per length bucket."""
        return self._likelihood.batches

    def __len__(self) -> int:
        return len(self._texts)

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "BoundPerplexity":
        """The same task on some of its items."""
        ends = np.append(self._first[1:], len(self._likelihood.counts))
        windows = [np.arange(self._first[row], ends[row]) for row in rows]
        owners = np.repeat(np.arange(len(rows)), list(map(len, windows))).tolist()
        texts = [self._texts[row] for row in rows]
        return BoundPerplexity(self._likelihood.take(np.concatenate(windows)), owners, texts)

    def score(
        self, outputs: Sequence[Float[np.ndarray, "pop _"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """The mean log-likelihood x per token of each text; exp(−x) is its perplexity."""
        sums = np.add.reduceat(self._likelihood.gather(outputs), self._first, axis=-1)
        return (sums / self.tokens).astype(np.float32)

    def details(
        self, outputs: Sequence[Float[np.ndarray, "pop _"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """The text, number of scored tokens, mean log-likelihood and perplexity of each item."""
        return [
            {
                "item": item,
                "text": text,
                "tokens": int(tokens),
                "loglikelihood": float(value),
                "perplexity": float(np.exp(-np.float64(value))),
            }
            for item, (text, tokens, value) in enumerate(
                zip(self._texts, self.tokens, self.score(outputs)[candidate], strict=True)
            )
        ]

    def references(self) -> tuple[TextReferences, ...]:
        """The windows, weighted so that their mean is the mean over the texts.

        Raises:
            ValueError: Items have pictures.
        """
        self._likelihood.require_text("perplexity")
        rows = self._likelihood.rows
        windows = np.diff(self._first, append=len(rows))
        share = len(rows) / len(self) / np.repeat(self.tokens, windows)
        items = [
            [Text(ids, known, float(weight))]
            for (ids, known), weight in zip(rows, share, strict=True)
        ]
        buckets = len(self.batches)
        return text_references(items, np.zeros(len(rows), int), self._likelihood.pad, buckets)


def corpus_perplexity(
    scores: Float[np.ndarray, "*pop items"], tokens: Num[np.ndarray, " items"] | None = None
) -> Float[np.ndarray, " *pop"]:
    """The perplexity exp(−Σ n_i s_i / Σ n_i) of mean log-likelihoods s of texts of n tokens.

    Args:
        scores: The results of a `PerplexityTask` for each item.
        tokens: The weight of each item; by default, every text counts the same.
    """
    return np.asarray(np.exp(-np.average(scores, axis=-1, weights=tokens)))


def _windows(ids: list[int], known: int, length: int | None) -> Iterator[tuple[list[int], int]]:
    """Windows with a scored token in them, and how many of their first tokens are not scored."""
    step = max(len(ids), 2) - 1 if length is None else length - 1
    for begin in range(0, len(ids) - 1, step):
        window = ids[begin : begin + step + 1]
        context = max(known - begin, 1)
        if context < len(window):
            yield window, context
