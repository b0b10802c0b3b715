"""One vocabulary for all models of a merge, as mergekit's ``tokenizer_source`` makes it.

A token that a model lacks takes, in this order: the row of the only model that has it; the base's
row; the mean of the models' that have it; zeros where none has. Rows that pad the tables to a
multiple are the mean of the others. (A native recipe differs: it takes the reference's row.)

Departures from mergekit 0.1.5: ``union`` adds tokens in the order of the models in the file, where
mergekit takes any; a tokenizer with more tokens than its model has rows is refused, where mergekit
rewrites it; means are taken in float32.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evojax_merge.checkpoints import Checkpoint
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.schema import TokenizerChoice

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Tokens(NamedTuple):
    """The vocabulary of a result.

    Attributes:
        directory: Of the model whose tokenizer's files the result carries.
        tokenizer: What is saved instead of those files; None where they are right as they are.
        rows: Of the tables, padding included.
        origins: For each model: the row of each token, -1 where the model lacks it.
    """

    directory: Path
    tokenizer: "PreTrainedTokenizerFast | None"
    rows: int
    origins: tuple[np.ndarray, ...]


def plan_tokens(choice: TokenizerChoice, checkpoints: Mapping[str, Checkpoint]) -> Tokens:
    """Read the tokenizers and decide the result's.

    Args:
        choice: Of the file.
        checkpoints: By name; the first is the base, or stands for it.

    Raises:
        ExchangeError: A tokenizer that is needed is missing, or cannot be used.
    """
    names = list(checkpoints)
    donor = names[0] if choice.source in ("base", "union") else choice.source
    if checkpoints[donor].tokenizer is None:
        raise ExchangeError(f"tokenizer: {donor} carries no tokenizer; choose another source")
    vocabularies = {name: _vocabulary(name, checkpoint) for name, checkpoint in checkpoints.items()}
    tokenizer = None
    wanted = vocabularies[donor] or {}
    if choice.source == "union":
        tokenizer = _union(checkpoints, vocabularies)
        wanted = tokenizer.get_vocab()
        if wanted == vocabularies[donor]:
            tokenizer = None
    if sorted(wanted.values()) != list(range(len(wanted))):
        raise ExchangeError(f"tokenizer: the ids of {donor} have gaps; pad its vocabulary first")
    lent = [name for name in names if vocabularies[name] is None]
    for name in lent:
        rows = checkpoints[name].config.vocab_size
        if rows < len(vocabularies[donor] or {}):
            raise ExchangeError(
                f"tokenizer: {name} carries no tokenizer, and its tables have {rows} rows, fewer "
                f"than {donor} has tokens; give it its own tokenizer"
            )
        warnings.warn(
            f"{name} carries no tokenizer: it is taken to be that of {donor}", stacklevel=2
        )
    origins = []
    for name in names:
        held = vocabularies[name] or vocabularies[donor] or {}
        rows = np.full(len(wanted), -1, np.int64)
        for token, row in wanted.items():
            rows[row] = held.get(token, -1)
        origins.append(rows)
    multiple = choice.pad_to_multiple_of or 1
    padded = -(-len(wanted) // multiple) * multiple
    return Tokens(checkpoints[donor].directory, tokenizer, padded, tuple(origins))


def align_tables(
    tokens: Tokens, tables: Sequence[np.ndarray], models: Sequence[int], base: int | None
) -> list[np.ndarray]:
    """Tables of the result's vocabulary, in float32 where anything moves.

    Args:
        tokens: Of the result.
        tables: One for each model of this merge.
        models: Their indices.
        base: Which of ``tables`` is the base's, if any is.
    """
    origins = [tokens.origins[model] for model in models]
    same = np.arange(tokens.rows)
    if all(
        len(table) == tokens.rows and np.array_equal(rows, same)
        for table, rows in zip(tables, origins, strict=True)
    ):
        return list(tables)
    has = np.stack([rows >= 0 for rows in origins])
    donors = has.copy()
    if base is not None:
        donors[:, has[base]] = False
        donors[base] = has[base]
    lacking = np.flatnonzero(~has.all(axis=0))
    width = tables[0].shape[1:]
    default = np.zeros((len(lacking), *width), np.float32)
    for table, rows, donates in zip(tables, origins, donors, strict=True):
        given = donates[lacking]
        default[given] += table[rows[lacking][given]].astype(np.float32)
    default /= np.maximum(donors[:, lacking].sum(axis=0), 1).reshape(-1, *(1,) * len(width))
    aligned = []
    for table, rows, held in zip(tables, origins, has, strict=True):
        moved = np.empty((tokens.rows, *width), np.float32)
        moved[: len(rows)] = table[np.maximum(rows, 0)]
        missing = ~held[lacking]
        moved[lacking[missing]] = default[missing]
        if tokens.rows > len(rows):
            moved[len(rows) :] = moved[: len(rows)].mean(axis=0, dtype=np.float64)
        aligned.append(moved)
    return aligned


def _vocabulary(name: str, checkpoint: Checkpoint) -> dict[str, int] | None:
    if checkpoint.tokenizer is None:
        return None
    found = dict(checkpoint.tokenizer.get_vocab())
    rows = checkpoint.config.vocab_size
    beyond = [token for token, row in found.items() if row >= rows]
    if beyond:
        raise ExchangeError(
            f"tokenizer: that of {name} has tokens beyond the {rows} rows of its tables, e.g. "
            f"{beyond[0]!r}; remove them from it"
        )
    return found


def _union(
    checkpoints: Mapping[str, Checkpoint], vocabularies: Mapping[str, dict[str, int] | None]
) -> "PreTrainedTokenizerFast":
    names = [name for name in checkpoints if vocabularies[name] is not None]
    tokenizers = {name: checkpoints[name].tokenizer for name in names}
    first = tokenizers[names[0]]
    assert first is not None
    result = copy.deepcopy(first)
    added: dict[str, Any] = {}
    for tokenizer in tokenizers.values():
        assert tokenizer is not None
        for token in tokenizer.added_tokens_decoder.values():
            added.setdefault(token.content, token)
    for name in names:
        vocabulary = vocabularies[name] or {}
        new = vocabulary.keys() - result.get_vocab().keys() - added.keys()
        plain = [token for row, token in sorted((vocabulary[token], token) for token in new)]
        result.add_tokens(plain)
    known = result.get_vocab()
    result.add_tokens([token for content, token in added.items() if content not in known])
    return result
