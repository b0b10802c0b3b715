"""Texts as token ids for one model, and ids as padded arrays in a few length buckets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from evojax_merge.checkpoints.directory import member, read_json
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.tokenizers import refused
from evojax_merge.documents.schema import Document, read, whole
from evojax_merge.models.request import OWN_MEASURE

_MULTIPLE = 16
_WORTHWHILE = 0.1


class Encoder:
    """The tokenizer of a model, with its end, padding and length known.

    Texts are encoded with the special tokens that the tokenizer itself puts before them (a
    beginning-of-sequence token, for models that have one), never twice, and without the end token
    that some append.

    Args:
        model: Anything with ``tokenizer`` and ``config``.
        task: The name of the task in messages.

    Raises:
        ValueError: The model has no tokenizer, or no fast one.
    """

    def __init__(self, model: Any, task: str) -> None:
        tokenizer = getattr(model, "tokenizer", None)
        if tokenizer is None:
            raise ValueError(
                f"{task}: this task needs a tokenizer, and the model has none; {OWN_MEASURE}"
            )
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise ValueError(
                f"{task}: this task needs a fast tokenizer, and the model's is a "
                f"{type(tokenizer).__name__}; save it with a tokenizer.json"
            )
        self.task = task
        self.tokenizer = tokenizer
        self.directory: Path | None = getattr(model, "directory", None)
        config = getattr(model, "config", None)
        config = getattr(config, "text", config)  # of a model that sees, that which reads
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        self._vocabulary: int | None = getattr(config, "vocab_size", None)
        self.bos: int | None = tokenizer.bos_token_id
        eos: int | None = tokenizer.eos_token_id
        self.eos_ids = _end_tokens(eos, self.directory)
        pad: int | None = tokenizer.pad_token_id
        self.pad = next((token for token in (pad, eos) if token is not None), 0)
        self._appends_eos = eos is not None and self._ids(["a"], True)[0][-1:] == [eos]

    def __call__(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """Token ids of each text.

        Args:
            texts: The texts.
            special: Whether to add the special tokens that go before a text.

        Raises:
            ValueError: A token lies outside the model's vocabulary.
        """
        encoded = self._checked(self._ids(texts, special))
        return [self._trim(ids) for ids in encoded] if special else encoded

    def as_given(self, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """Token ids of each text with all special tokens that the tokenizer adds, as it has them.

        Raises:
            ValueError: A token lies outside the model's vocabulary.
        """
        return self._checked(self._ids(texts, special))

    def _checked(self, encoded: list[list[int]]) -> list[list[int]]:
        top = max((max(ids) for ids in encoded if ids), default=0)
        if self._vocabulary is not None and top >= self._vocabulary:
            raise ValueError(
                f"{self.task}: the tokenizer gives token {top}, and the model's vocabulary ends "
                f"at {self._vocabulary - 1}; the tokenizer belongs to another model"
            )
        return encoded

    def pair(self, contexts: Sequence[str], texts: Sequence[str]) -> list[tuple[list[int], int]]:
        """Token ids of context + text, and how many of them are context.

        This is done as in lm-evaluation-harness: white space that ends a context is counted to
        the text, both are encoded together, and the context is as long as when encoded alone.
        When it has no token, the beginning (or else the end) token takes its place.

        Raises:
            ValueError: A text has no token of its own, or there is no token for an empty context.
        """
        stripped = [context.rstrip() for context in contexts]
        whole = self([context + text for context, text in zip(contexts, texts, strict=True)])
        alone = self(stripped)
        pairs = []
        for ids, context, text in zip(whole, alone, texts, strict=True):
            if len(ids) <= len(context):
                raise ValueError(f"{self.task}: the text {text!r} has no token to score")
            pairs.append((ids, len(context)) if context else ([self._first(), *ids], 1))
        return pairs

    def require_context(self, length: int, what: str, remedy: str) -> None:
        """Raise ValueError if a sequence is longer than the model's context."""
        if self.context is not None and length > self.context:
            raise ValueError(
                f"{self.task}: {what} needs {length} tokens, and the model's context has "
                f"{self.context}; {remedy}"
            )

    def require_vocabulary(self, tokens: int, what: str, remedy: str) -> None:
        """Raise ValueError if a vocabulary has fewer tokens."""
        if self._vocabulary is not None and tokens > self._vocabulary:
            raise ValueError(
                f"{self.task}: {what} need {tokens} tokens to choose from, and the model's "
                f"vocabulary has {self._vocabulary}; {remedy}"
            )

    def _first(self) -> int:
        if self.bos is not None:
            return self.bos
        if self.eos_ids:
            return self.eos_ids[0]
        raise ValueError(
            f"{self.task}: an empty context needs a beginning or end token, "
            "and the tokenizer has neither"
        )

    def _ids(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        if not texts:
            return []
        with refused(f"{self.directory or self.task}: its tokenizer cannot encode the texts"):
            encoded = self.tokenizer(
                list(texts),
                add_special_tokens=special,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )
        return list(encoded["input_ids"])

    def _trim(self, ids: list[int]) -> list[int]:
        if self._appends_eos:
            ids = ids[:-1]
        if self.bos is not None and ids[:2] == [self.bos, self.bos]:
            ids = ids[1:]
        return ids


_TokenId = Annotated[int, whole()]


class _EndToken(Document):
    eos_token_id: _TokenId | None = None


class _EndTokens(Document):
    eos_token_id: list[_TokenId]


def _end_tokens(eos: int | None, directory: Path | None) -> tuple[int, ...]:
    """The end token of the tokenizer, then those of ``generation_config.json``, one or several."""
    found = [] if eos is None else [eos]
    file = None if directory is None else member(Path(directory), "generation_config.json")
    if file is not None and file.exists():
        written = read_json(file)
        if isinstance(written.get("eos_token_id"), list):
            found += read(_EndTokens, written, str(file), CheckpointError).eos_token_id
        else:
            named = read(_EndToken, written, str(file), CheckpointError).eos_token_id
            found += [] if named is None else [named]
    return tuple(dict.fromkeys(found))


class Bucket(NamedTuple):
    """Rows that are padded to one length."""

    rows: Int[np.ndarray, " batch"]
    length: int


def plan_buckets(lengths: Sequence[int], most: int, extra: int = 0) -> tuple[Bucket, ...]:
    """Divide rows by length so that little is padding, in as few buckets as that takes.

    A row costs its padded length, a multiple of 16, plus ``extra``. Every bucket is one more
    compiled program and, in generation, one more run of the decode loop, so another is made only
    if it takes away a tenth of the cost. Among divisions into the same number the best is found
    by dynamic programming.

    Args:
        lengths: The length of each row.
        most: The largest number of buckets.
        extra: The positions that every row takes besides, e.g. the tokens generated.
    """
    padded = -(-np.maximum(lengths, 1) // _MULTIPLE) * _MULTIPLE
    sizes, counts = np.unique(padded, return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])
    reach = range(1, len(sizes) + 1)

    def cost(shorter: int, end: int) -> int:
        return int((before[end] - before[shorter]) * (sizes[end - 1] + extra))

    # plans[end]: least cost of the rows of the `end` shortest sizes, and the lengths that take it.
    plans: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    plans |= {end: (cost(0, end), (int(sizes[end - 1]),)) for end in reach}
    total, chosen = plans[len(sizes)]
    for _ in range(most - 1):
        plans = {0: (0, ())} | {
            end: min(
                (plans[shorter][0] + cost(shorter, end), (*plans[shorter][1], int(sizes[end - 1])))
                for shorter in range(end)
            )
            for end in reach
        }
        if plans[len(sizes)][0] > (1 - _WORTHWHILE) * total:
            break
        total, chosen = plans[len(sizes)]
    which = np.searchsorted(chosen, padded)
    return tuple(
        Bucket(np.flatnonzero(which == number), length) for number, length in enumerate(chosen)
    )


def fitting_bucket(lengths: Sequence[int], batches: Sequence[Any]) -> Bucket:
    """All rows in one bucket, as long as the shortest of those batches that holds them."""
    known = sorted(batch.tokens.shape[1] for batch in batches)
    longest = max(lengths)
    return Bucket(np.arange(len(lengths)), next(length for length in known if length >= longest))


def shared_prefix(rows: Sequence[tuple[Sequence[int], int]]) -> int:
    """The number of tokens that all rows begin with and that are worth reading once for all.

    Each row keeps a token before those that are scored or generated, as these are predicted by it.

    Args:
        rows: The token ids of each row, and how many of them are context.
    """
    if len(rows) < 2:
        return 0
    most = min(known for _, known in rows) - 1
    first = rows[0][0]
    differ = (next((at for at in range(most) if ids[at] != first[at]), most) for ids, _ in rows[1:])
    length = max(0, min(differ))
    return length if length >= _MULTIPLE else 0


def before_features(ids: Sequence[int], token_id: int | None) -> int:
    """The number of tokens before the first feature of a picture; all, where there is none."""
    return ids.index(token_id) if token_id in ids else len(ids)


def pad_left(
    rows: Sequence[Sequence[int]], length: int, pad: int
) -> tuple[Int32[np.ndarray, "batch seq"], Int32[np.ndarray, " batch"]]:
    """Token ids ending at ``length``, and the first slot of each row that is not padding."""
    tokens = np.full((len(rows), length), pad, np.int32)
    start = np.array([length - len(row) for row in rows], np.int32)
    for row, first, ids in zip(tokens, start, rows, strict=True):
        row[first:] = ids
    return tokens, start
