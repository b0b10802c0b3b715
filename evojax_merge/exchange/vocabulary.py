"""One vocabulary for all models of a merge, as mergekit's ``tokenizer_source`` makes it.

A token that a model lacks takes the first of these: the row that the file names for it, the row of
the only model that has it, the base's row, the mean of the rows of the models that have it, or
zeros where none has. Rows that pad the tables to a multiple are the mean of the others. (A native
recipe differs: it takes the reference's row.)

A tokenizer may have more tokens than its model has rows: these are tokens that the model lacks, and
the result does not have them on its account.

Some things differ from mergekit 0.1.5. ``union`` adds tokens in the order of the models in the
file, where mergekit takes any. Tokens beyond the rows are taken from tokenizers of every kind,
where mergekit knows BPE alone, and from that of any model, where mergekit ends in an error but for
the base's. Means are taken in float32.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evojax_merge.checkpoints import Checkpoint, resolve
from evojax_merge.checkpoints.special_tokens import SpecialTokens
from evojax_merge.checkpoints.tokenizers import load_tokenizer
from evojax_merge.exchange.configuration import TokenizerChoice
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.tokens import TokenRow
from evojax_merge.exchange.trimmed_tokenizer import without_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class ChosenRow(NamedTuple):
    """A row that the file names.

    Attributes:
        row: The number of the row in the result.
        model: The index of the model whose table the row is from, or None for zeros.
        origin: The number of the row in that table.
        force: Whether models that have the token get the row too.
        where: The place of the entry in the file.
    """

    row: int
    model: int | None
    origin: int
    force: bool
    where: str


class Tokens(NamedTuple):
    """The vocabulary of a result.

    Attributes:
        directory: The directory whose tokenizer's files the result carries.
        tokenizer: The tokenizer that is saved instead of those files, or None where they are right
            as they are.
        rows: The number of rows of the tables, padding included.
        origins: The row of each token in each model, -1 where the model lacks it.
        chosen: The rows that the file names.
        special: The result's special tokens.
    """

    directory: Path
    tokenizer: "PreTrainedTokenizerFast | None"
    rows: int
    origins: tuple[np.ndarray, ...]
    chosen: tuple[ChosenRow, ...]
    special: SpecialTokens


def plan_tokens(choice: TokenizerChoice, checkpoints: Mapping[str, Checkpoint]) -> Tokens:
    """Read the tokenizers and decide the result's.

    Args:
        choice: The choice of the file.
        checkpoints: The checkpoints that are merged, by name. The first is the base, or stands for
            it.

    Raises:
        ExchangeError: A tokenizer that is needed is missing, or cannot be used.
        CheckpointError: A tokenizer is damaged.
    """
    names = list(checkpoints)
    source = names[0] if choice.source in ("base", "union") else choice.source
    directory, donor = _donor(source, checkpoints)
    held = {name: _vocabulary(checkpoint) for name, checkpoint in checkpoints.items()}
    tokenizer = donor
    if source in checkpoints:
        tokenizer = without_tokens(donor, checkpoints[source].config.vocab_size, source)
    lent = tokenizer.get_vocab()
    if choice.source == "union":
        tokenizer = _union(tokenizer, checkpoints, held)
    known = tokenizer.get_vocab()
    added = [token for token in choice.rows if token not in known]
    if added:
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.add_tokens(added)
    wanted = tokenizer.get_vocab()
    if sorted(wanted.values()) != list(range(len(wanted))):
        raise ExchangeError(f"tokenizer: the ids of {source} have gaps; pad its vocabulary first")
    origins = []
    for name, own in _lent(held, checkpoints, source, lent).items():
        rows = np.full(len(wanted), -1, np.int64)
        for token, row in wanted.items():
            rows[row] = own.get(token, -1)
        origins.append(rows)
        held[name] = own
    multiple = choice.pad_to_multiple_of or 1
    padded = -(-len(wanted) // multiple) * multiple
    chosen = [
        _chosen(token, row, wanted, held, checkpoints)
        for token, row in choice.rows.items()
        if not row.ordinary
    ]
    same = wanted == donor.get_vocab()
    return Tokens(
        directory,
        None if same else tokenizer,
        padded,
        tuple(origins),
        tuple(chosen),
        SpecialTokens.of(tokenizer),
    )


def align_tables(
    tokens: Tokens, tables: Sequence[np.ndarray], models: Sequence[int], base: int | None
) -> list[np.ndarray]:
    """Bring tables to the result's vocabulary, in float32 where anything moves.

    Args:
        tokens: The vocabulary of the result.
        tables: The table of each model of this merge.
        models: The index of each of these models.
        base: The index of the base's table in ``tables``, if it is there.
    """
    origins = [tokens.origins[model] for model in models]
    same = np.arange(tokens.rows)
    forced = any(chosen.force for chosen in tokens.chosen)
    if not forced and all(
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
    named = [(one, _row(one, tables, models)) for one in tokens.chosen]
    aligned = []
    for table, rows, held in zip(tables, origins, has, strict=True):
        moved = np.empty((tokens.rows, *width), np.float32)
        moved[: len(rows)] = table[np.maximum(rows, 0)]
        missing = ~held[lacking]
        moved[lacking[missing]] = default[missing]
        for one, given in named:
            if one.force or not held[one.row]:
                moved[one.row] = given
        if tokens.rows > len(rows):
            moved[len(rows) :] = moved[: len(rows)].mean(axis=0, dtype=np.float64)
        aligned.append(moved)
    return aligned


def _row(chosen: ChosenRow, tables: Sequence[np.ndarray], models: Sequence[int]) -> np.ndarray:
    if chosen.model is None:
        return np.zeros(tables[0].shape[1:], np.float32)
    return tables[models.index(chosen.model)][chosen.origin].astype(np.float32)


def _donor(
    name: str, checkpoints: Mapping[str, Checkpoint]
) -> tuple[Path, "PreTrainedTokenizerFast"]:
    """Return the directory and tokenizer of a model, which need not be one that is merged."""
    if name in checkpoints:
        directory, tokenizer = checkpoints[name].directory, checkpoints[name].tokenizer
    else:
        directory = resolve(name)
        tokenizer = load_tokenizer(directory)
    if tokenizer is None:
        raise ExchangeError(f"tokenizer: {name} carries no tokenizer; choose another source")
    return directory, tokenizer


def _vocabulary(checkpoint: Checkpoint) -> dict[str, int] | None:
    """Return the rows by token, or None where there is no tokenizer."""
    if checkpoint.tokenizer is None:
        return None
    rows = checkpoint.config.vocab_size
    return {token: row for token, row in checkpoint.tokenizer.get_vocab().items() if row < rows}


def _lent(
    held: Mapping[str, dict[str, int] | None],
    checkpoints: Mapping[str, Checkpoint],
    source: str,
    vocabulary: dict[str, int],
) -> dict[str, dict[str, int]]:
    """Return the vocabulary of every model. One without a tokenizer has that of the source."""
    found = {}
    for name, own in held.items():
        if own is None:
            rows = checkpoints[name].config.vocab_size
            if rows < len(vocabulary):
                raise ExchangeError(
                    f"tokenizer: {name} carries no tokenizer, and its tables have {rows} rows, "
                    f"fewer than {source} has tokens; give it its own tokenizer"
                )
            warnings.warn(
                f"{name} carries no tokenizer: it is taken to be that of {source}", stacklevel=4
            )
        found[name] = vocabulary if own is None else own
    return found


def _chosen(
    token: str,
    row: TokenRow,
    wanted: Mapping[str, int],
    held: Mapping[str, dict[str, int] | None],
    checkpoints: Mapping[str, Checkpoint],
) -> ChosenRow:
    if row.model is None:
        return ChosenRow(wanted[token], None, -1, row.force, row.where)
    if row.model not in checkpoints:
        raise ExchangeError(
            f"{row.where}.source: {row.model} is none of the models that are merged"
        )
    origin = row.token
    if not isinstance(origin, int):
        origin = (held[row.model] or {}).get(origin or token, -1)
    if not 0 <= origin < checkpoints[row.model].config.vocab_size:
        raise ExchangeError(
            f"{row.where}.source: {row.model} has no row for {row.token or token!r}; name another "
            "token or model"
        )
    return ChosenRow(
        wanted[token], list(checkpoints).index(row.model), origin, row.force, row.where
    )


def _union(
    first: "PreTrainedTokenizerFast",
    checkpoints: Mapping[str, Checkpoint],
    vocabularies: Mapping[str, dict[str, int] | None],
) -> "PreTrainedTokenizerFast":
    result = copy.deepcopy(first)
    added: dict[str, Any] = {}
    for name, vocabulary in vocabularies.items():
        tokenizer = checkpoints[name].tokenizer
        if tokenizer is not None and vocabulary is not None:
            for token in tokenizer.added_tokens_decoder.values():
                if token.content in vocabulary:
                    added.setdefault(token.content, token)
    for vocabulary in vocabularies.values():
        new = (vocabulary or {}).keys() - result.get_vocab().keys() - added.keys()
        plain = [token for _, token in sorted(((vocabulary or {})[token], token) for token in new)]
        result.add_tokens(plain)
    known = result.get_vocab()
    result.add_tokens([token for content, token in added.items() if content not in known])
    return result
