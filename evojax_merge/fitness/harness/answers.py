"""Prompts of the harness as arrays, and the answers to them given back to it."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Integer

from evojax_merge.checkpoints.tokenizers import refused
from evojax_merge.fitness.answering import Answers
from evojax_merge.fitness.harness.decoding import decoding_of
from evojax_merge.fitness.harness.encoding import HarnessEncoder
from evojax_merge.fitness.harness.judging import Item, judged


class Limits(NamedTuple):
    """What bounds how requests are carried out.

    Attributes:
        slots: How many answers a model writes at a time; by default, all, or what memory holds.
        buckets: The largest number of padded lengths.
    """

    slots: int | None
    buckets: int


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What `Answers` asks of a task."""

    records: Sequence[Any]
    max_new_tokens: int
    slots: int | None
    buckets: int
    repetition_penalty: float
    beams: int = 1
    stop: tuple[str, ...] = ()


class BoundAnswers(Answers):
    """Items that a model answers in text."""

    def __init__(self, items: Sequence[Item], encoder: HarnessEncoder, limits: Limits) -> None:
        task = encoder.task
        several = next((item for item in items if len(item.requests) != 1), None)
        if several is not None:
            raise ValueError(f"{task}: an item has {len(several.requests)} prompts, not one")
        self._all = items
        prompts, kwargs = zip(*(item.requests[0].args[:2] for item in items), strict=True)
        if any(one != kwargs[0] for one in kwargs):
            raise ValueError(
                f"{task}: its prompts have generation settings of their own, and one program has "
                "the same for all; name its parts one by one in fitness.tasks"
            )
        tokenizer = encoder.tokenizer
        eos = tokenizer.eos_token_id
        end = None if eos is None else tokenizer.decode(eos, skip_special_tokens=False)
        decoding = decoding_of(kwargs[0], encoder.encoder.directory, end, task)
        encoded = encoder.prompts(prompts, decoding.room)
        settings = _Settings(
            range(len(items)),
            decoding.max_new_tokens,
            limits.slots,
            limits.buckets,
            decoding.repetition_penalty,
        )
        super().__init__(settings, encoder.encoder, prompts, encoded)
        self._until = decoding.until
        ends = tuple(dict.fromkeys((*self.request.eos_ids, *_ending(tokenizer, self._until))))
        self.request = dataclasses.replace(self.request, eos_ids=ends)
        self._ends = np.array(ends, np.int32)

    def score(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]]
    ) -> Float32[np.ndarray, "pop items"]:
        """The numbers that the harness's metric makes of the answers."""
        found = np.zeros((len(outputs[0]), len(self)), np.float32)
        for rows, tokens in zip(self._rows, outputs, strict=True):
            items = np.array([self._records[row] for row in rows])
            found[:, rows] = self._verdicts(np.asarray(tokens), items, self._values)
        return found

    def details(
        self, outputs: Sequence[Integer[np.ndarray, "pop _ new"]], candidate: int = 0
    ) -> list[dict[str, Any]]:
        """What was asked of each item, what the model wrote, and what the harness makes of it."""
        found: list[dict[str, Any]] = [{} for _ in range(len(self))]
        for rows, tokens in zip(self._rows, outputs, strict=True):
            texts = self._texts(np.asarray(tokens)[candidate])
            for row, text in zip(rows, texts, strict=True):
                item = self._all[self._records[row]]
                found[row] = {"item": int(row), **item.judge.record(item.place, [text])}
        return found

    def _values(self, texts: Sequence[str], numbers: Sequence[int]) -> list[float]:
        return judged([self._all[number] for number in numbers], [[text] for text in texts])

    def _texts(self, tokens: Integer[np.ndarray, "rows new"]) -> list[str]:
        """The texts as the harness's models give them, cut at each text that ends one in turn."""
        ended = np.isin(tokens, self._ends)
        length = np.where(ended.any(-1), ended.argmax(-1) + 1, tokens.shape[-1])
        rows = [ids[:end] for ids, end in zip(tokens.tolist(), length.tolist(), strict=True)]
        with refused(f"{self._encoder.directory or 'the model'}: its tokenizer cannot decode"):
            texts = [self._tokenizer.decode(ids, skip_special_tokens=True) for ids in rows]
        return [_cut(text, self._until) for text in texts]


def _cut(text: str, until: Sequence[str]) -> str:
    for end in until:
        text = text.split(end)[0]
    return text


def _ending(tokenizer: Any, until: Sequence[str]) -> list[int]:
    """The tokens that end an answer, as a text that ends it stands in them."""
    count = len(tokenizer)
    texts = tokenizer.backend_tokenizer.decode_batch(
        [[token] for token in range(count)], skip_special_tokens=False
    )
    return [token for token, text in enumerate(texts) if any(end in text for end in until)]
