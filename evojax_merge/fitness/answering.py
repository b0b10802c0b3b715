"""What tasks share that have a model write answers: prompts as arrays, and answers as texts."""

import copy
import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from jaxtyping import Float, Int, Integer

from evojax_merge.checkpoints.tokenizers import refused
from evojax_merge.documents.arguments import (
    check_number,
    check_text,
    check_whole,
)
from evojax_merge.fitness.base import Batch, GenerateBatch
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.encoder import (
    Bucket,
    Encoder,
    before_features,
    fitting_bucket,
    pad_left,
    plan_buckets,
    shared_prefix,
)
from evojax_merge.fitness.language import Language, as_language
from evojax_merge.fitness.prompted import PromptedTask
from evojax_merge.models.request import Generate

_JUDGED_BYTES = 2**27
"""The size of the answers whose verdicts are remembered."""


@dataclasses.dataclass(kw_only=True)
class AnsweringTask(PromptedTask):
    """Items that a model answers in text.

    Attributes:
        language: A condition on the text, ``ja`` for the script rule, or None for any language.
        max_new_tokens: The largest number of tokens in an answer.
        stop: The strings that end an answer; its text is cut before the first of them.
        slots: How many answers a model writes at a time; those that end make room for prompts that
            wait. By default, it answers all prompts of a length bucket, or as many as memory holds.
        beams: How many continuations of a prompt beam search follows, of which the best is the
            answer. With 1 the next token is always the likeliest.
        repetition_penalty: What tokens that stand in the prompt or in the answer so far are
            penalised by, from 0.01 to 100. With 1 they are not.
        writes_answers: Whether models write answers, which tasks beside this one may look at.
    """

    writes_answers: ClassVar[bool] = True
    language: Language | str | None = None
    max_new_tokens: int = 256
    stop: Sequence[str] = ()
    slots: int | None = None
    beams: int = 1
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        check_whole(f"{self.name}: max_new_tokens", self.max_new_tokens, 1)
        if self.slots is not None:
            check_whole(f"{self.name}: slots", self.slots, 1)
        check_whole(f"{self.name}: beams", self.beams, 1)
        check_number(f"{self.name}: repetition_penalty", self.repetition_penalty, 0.01, 100)
        if not isinstance(self.stop, list | tuple):
            raise ValueError(f"{self.name}: stop must be a list of texts, not {self.stop!r}")
        self.stop = tuple(check_text(f"{self.name}: stop", one, empty=False) for one in self.stop)
        self.language = as_language(self.language)
        super().__post_init__()

    def check_prompts(
        self, encoder: Encoder, prompts: Sequence[str], encoded: Sequence[Sequence[int]]
    ) -> None:
        """Raise if a prompt is empty, or does not fit into the model's context with an answer.

        Args:
            encoder: The tokenizer of the model.
            prompts: The prompt of each item.
            encoded: Its tokens.
        """
        for record, prompt, ids in zip(self.records, prompts, encoded, strict=True):
            if not prompt.strip() or not ids:
                raise DataError(f"{record.place}: the prompt is empty")
            encoder.require_context(
                len(ids) + self.max_new_tokens,
                f"{record.place}: a prompt of {len(ids)} and {self.max_new_tokens} new",
                "shorten the prompt or lower fitness.max_new_tokens",
            )


class Answering(Protocol):
    """What is asked of items that a model answers, as `AnsweringTask` has it."""

    @property
    def records(self) -> Sequence[Any]: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def stop(self) -> Sequence[str]: ...
    @property
    def slots(self) -> int | None: ...
    @property
    def beams(self) -> int: ...
    @property
    def repetition_penalty(self) -> float: ...
    @property
    def buckets(self) -> int: ...


class Answers:
    """Prompts as arrays in length buckets, and the texts that models continue them with.

    Attributes:
        request: What a model is to do. Some of the tokens that end an answer are the model's, and
            some are stop strings of one token; longer stop strings cut the text afterwards.
        image_token_id: The token in whose place a feature of a picture stands, if there are some.
    """

    image_token_id: int | None = None

    def __init__(
        self,
        task: Answering,
        encoder: Encoder,
        prompts: Sequence[str],
        encoded: Sequence[Sequence[int]],
    ) -> None:
        self._encoder, self._tokenizer = encoder, encoder.tokenizer
        self._records, self._prompts, self._encoded = task.records, prompts, encoded
        # Each row keeps a token, before an answer or the first feature of a picture.
        token_id = self.image_token_id
        alike = [(ids, min(len(ids), before_features(ids, token_id) + 1)) for ids in encoded]
        eos_ids = (*encoder.eos_ids, *_stop_tokens(encoder, task.stop))
        encoder.require_vocabulary(
            task.beams + len(set(eos_ids)),
            f"{task.beams} beams and {len(set(eos_ids))} that end an answer",
            "lower fitness.beams",
        )
        self.request = Generate(
            max_new_tokens=task.max_new_tokens,
            eos_ids=eos_ids,
            pad_id=encoder.pad,
            prefix=shared_prefix(alike),
            slots=task.slots,
            image_token_id=token_id,
            beams=task.beams,
            repetition_penalty=float(task.repetition_penalty),
        )
        extra = task.max_new_tokens - self.request.prefix
        self._fill(plan_buckets([len(ids) for ids in encoded], task.buckets, extra))
        self._stop = re.compile("|".join(map(re.escape, task.stop))) if task.stop else None
        self._ends = np.array(encoder.eos_ids, np.int32)
        self._judged: dict[tuple[int, bytes], float] = {}

    @functools.cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The batches, one per length bucket."""
        return self._text

    @property
    def rows(self) -> tuple[Int[np.ndarray, " batch"], ...]:
        """The items of each batch."""
        return self._rows

    @property
    def encoded(self) -> Sequence[Sequence[int]]:
        """The tokens of the prompt of each item."""
        return self._encoded

    def __len__(self) -> int:
        return len(self._encoded)

    def take(self, rows: Int[np.ndarray, " chosen"]) -> Self:
        """The same task on some of its items; both know what was judged before."""
        part = copy.copy(self)
        part._choose(rows)
        part._fill((fitting_bucket(list(map(len, part._encoded)), self._text),))
        return part

    def _choose(self, rows: Int[np.ndarray, " chosen"]) -> None:
        """Leave of what there is by item that of these items."""
        self._encoded = [self._encoded[row] for row in rows]
        self._prompts = [self._prompts[row] for row in rows]
        self._records = tuple(self._records[row] for row in rows)

    def _fill(self, buckets: Sequence[Bucket]) -> None:
        self._rows = tuple(bucket.rows for bucket in buckets)
        self.__dict__.pop("batches", None)
        self._text = tuple(
            GenerateBatch(
                *pad_left([self._encoded[row] for row in rows], length, self.request.pad_id)
            )
            for rows, length in buckets
        )

    def _verdicts(
        self,
        tokens: Integer[np.ndarray, "pop batch new"],
        items: Int[np.ndarray, " batch"],
        judge: Callable[[Sequence[str], Sequence[int]], Sequence[float]],
    ) -> Float[np.ndarray, "pop batch"]:
        """Judge what a population wrote, each distinct answer to an item once.

        Candidates repeat the answers of one another, and later generations those of earlier ones.

        Args:
            tokens: The answers.
            items: The item of each row, or one number for all where all are judged alike.
            judge: The function from the texts of answers and their items to the verdicts.
        """
        written = _rows_as_keys(tokens)
        keys = list(zip(np.tile(items, len(tokens)).tolist(), written, strict=True))
        new = {key: row for row, key in enumerate(keys) if key not in self._judged}
        if (len(self._judged) + len(new)) * len(written[0]) > _JUDGED_BYTES:
            self._judged.clear()
            new = {key: row for row, key in enumerate(keys)}
        flat = tokens.reshape(len(keys), -1)
        texts = self._texts(flat[list(new.values())])
        if new:
            found = judge(texts, [item for item, _ in new])
            self._judged |= zip(new, found, strict=True)
        verdicts = np.fromiter((self._judged[key] for key in keys), np.float64, len(keys))
        return verdicts.reshape(tokens.shape[:-1])

    def _texts(self, tokens: Integer[np.ndarray, "rows new"]) -> list[str]:
        if len(tokens) == 0:
            return []
        ended = np.isin(tokens, self._ends)
        length = np.where(ended.any(-1), ended.argmax(-1), tokens.shape[-1])
        # The backend's own batch decoding: transformers' wrapper checks every id in Python.
        with refused(f"{self._encoder.directory or 'the model'}: its tokenizer cannot decode"):
            texts: list[str] = self._tokenizer.backend_tokenizer.decode_batch(
                [ids[:end] for ids, end in zip(tokens.tolist(), length.tolist(), strict=True)],
                skip_special_tokens=True,
            )
        if self._stop is not None:
            texts = [self._stop.split(text, maxsplit=1)[0] for text in texts]
        return texts


def _stop_tokens(encoder: Encoder, stop: Sequence[str]) -> list[int]:
    if not stop:
        return []
    encoded = encoder(stop, special=False)
    return [
        ids[0]
        for ids, text in zip(encoded, stop, strict=True)
        if len(ids) == 1 and text in encoder.tokenizer.decode(ids) and ids[0] not in encoder.eos_ids
    ]


def _rows_as_keys(tokens: Integer[np.ndarray, "*lead new"]) -> list[bytes]:
    """The tokens of each row as bytes, by which it is known whether they were judged before."""
    flat = np.ascontiguousarray(tokens.reshape(-1, tokens.shape[-1]), np.int32)
    data, width = flat.tobytes(), flat.shape[-1] * flat.itemsize
    return [data[at : at + width] for at in range(0, len(data), width)]
