"""Vocabularies that differ between sources are brought to one by moving rows of token tables.

Row i of an embedding or a head belongs to the i-th token of the model's tokenizer. Fine-tunes add
tokens, reorder or pad their tables. A merge of row i with row i is then a merge of different
tokens. Here the rows of each source are permuted to the reference's vocabulary (the base's, or the
first source's), by token string. A token the source lacks takes the reference's row, so that its
task vector is zero. Tokens only the source has are dropped.

Only the meaning of rows is aligned. Two BPE tokenizers of one vocabulary whose merges differ cut
text differently, and the result uses the reference's cut. That is allowed, as in extended
vocabularies. Tokenizers of different kinds (BPE, Unigram, …), or with too few tokens in common to
be of one origin, are refused.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.loader import Model
from evojax_merge.params.low_rank import LowRank, Unchanged
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Params

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MIN_SHARED = 0.5
"""The least part of the reference's tokens that a source must know."""


class Vocabulary(NamedTuple):
    """What decides which row is which: the tokenizer, if any, and the length of the tables."""

    directory: Path
    tokenizer: "PreTrainedTokenizerFast | None"
    rows: int


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How one source's rows were brought to the reference's vocabulary.

    Attributes:
        method: The method: ``identical`` (same tokens in the same rows), ``assumed`` (same number
            of rows, and a tokenizer is missing, so nothing could be compared) or ``by_token``.
        rows: The number of rows of the source's tables before.
        taken: The number of reference rows filled from the source.
        filled: The number of reference tokens that the source lacks. They keep the reference's row.
        padding: The number of reference rows without a token. They keep the reference's row.
        dropped: The number of tokens that only the source has.
    """

    method: str
    rows: int
    taken: int
    filled: int = 0
    padding: int = 0
    dropped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a recipe holds them."""
        return dataclasses.asdict(self)


def plan_alignment(
    reference: Vocabulary, source: Vocabulary, min_shared: float = MIN_SHARED
) -> tuple[Alignment, np.ndarray | None]:
    """Find the source row that stands in each reference row.

    Args:
        reference: The vocabulary that the source is brought to.
        source: The vocabulary of the source.
        min_shared: The least part of the reference's tokens that the source must know, between 0
            and 1.

    Returns:
        The account of the alignment, and the source's row for each reference row, or −1 where the
        reference's own is taken. Instead of the rows it is None when every row stays where it is.

    Raises:
        CheckpointError: The vocabularies cannot be aligned.
    """
    if reference.tokenizer is None or source.tokenizer is None:
        if reference.rows == source.rows:
            return Alignment("assumed", source.rows, source.rows), None
        lacking = [v.directory for v in (reference, source) if v.tokenizer is None]
        raise CheckpointError(
            f"{source.directory}: has {source.rows} token rows, {reference.directory} has "
            f"{reference.rows}, and they cannot be aligned by token without a tokenizer in "
            f"{' and '.join(map(str, lacking))}; put its tokenizer.json there"
        )
    wanted, held = reference.tokenizer.get_vocab(), source.tokenizer.get_vocab()
    if wanted == held and reference.rows == source.rows:
        return Alignment("identical", source.rows, source.rows), None
    kinds = [_kind(v.tokenizer) for v in (reference, source) if v.tokenizer is not None]
    if kinds[0] != kinds[1]:
        raise CheckpointError(
            f"{source.directory}: its tokenizer is {kinds[1]}, that of {reference.directory} is "
            f"{kinds[0]}; their tokens cannot be aligned"
        )
    tokens = {token: row for token, row in wanted.items() if row < reference.rows}
    rows = np.full(reference.rows, -1, np.int64)
    for token, row in tokens.items():
        origin = held.get(token, -1)
        rows[row] = origin if origin < source.rows else -1
    taken = int((rows >= 0).sum())
    if taken < min_shared * len(tokens):
        raise CheckpointError(
            f"{source.directory}: knows {taken} of the {len(tokens)} tokens of "
            f"{reference.directory}; at least {min_shared:.0%} must be shared to align them"
        )
    account = Alignment(
        method="by_token",
        rows=source.rows,
        taken=taken,
        filled=len(tokens) - taken,
        padding=reference.rows - len(tokens),
        dropped=len(held.keys() - wanted.keys()),
    )
    return account, rows


def dropped_tokens(reference: Vocabulary, source: Vocabulary) -> list[str]:
    """The tokens that only the source has, which the merge lacks."""
    if reference.tokenizer is None or source.tokenizer is None:
        return []
    wanted, held = reference.tokenizer.get_vocab(), source.tokenizer.get_vocab()
    return sorted(held.keys() - wanted.keys(), key=held.__getitem__)


def align_rows(
    table: np.ndarray | jnp.ndarray, reference: np.ndarray | jnp.ndarray, rows: np.ndarray
) -> jnp.ndarray:
    """Bring rows to the reference's order, and take the reference's where ``rows`` is −1."""
    moved = jnp.take(jnp.asarray(table), np.maximum(rows, 0), axis=0)
    known = (rows >= 0).reshape(-1, *(1,) * (moved.ndim - 1))
    return jnp.where(known, moved, jnp.asarray(reference).astype(moved.dtype))


def align_vocabularies(
    base: Model | None, sources: Sequence[Model], min_shared: float = MIN_SHARED
) -> tuple[tuple[Model, ...], list[Alignment]]:
    """Bring every source to the vocabulary of the base, or of the first source without one.

    Returns:
        The sources, with the reference's tokenizer and vocabulary size, and one account for each.

    Raises:
        CheckpointError: `plan_alignment` cannot align a source.
    """
    reference = sources[0] if base is None else base
    aligned, accounts = [], []
    for source in sources:
        account, rows = plan_alignment(vocabulary_of(reference), vocabulary_of(source), min_shared)
        accounts.append(account)
        aligned.append(source if rows is None else _aligned(source, reference, rows))
    return tuple(aligned), accounts


def vocabulary_of(model: Any) -> Vocabulary:
    """Return the vocabulary of a `Model` or a `Checkpoint`. Without tokens it has no rows."""
    layout = model.family.layout(model.config)
    rows = layout.shapes[layout.token_tables[0]][0] if layout.token_tables else 0
    return Vocabulary(model.directory, model.tokenizer if rows else None, rows)


def _aligned(source: Model, reference: Model, rows: np.ndarray) -> Model:
    leaves, target = flatten(source.params), flatten(reference.params)
    for path in source.family.layout(source.config).token_tables:
        leaves[path] = _aligned_leaf(leaves[path], target[path], rows)
    params: Params = unflatten(leaves)
    config = source.family.with_vocabulary(source.config, len(rows))
    return dataclasses.replace(
        source,
        params=params,
        config=config,
        hf_config={**source.hf_config, **source.family.hf_fields(config)},
        tokenizer=reference.tokenizer,
        tokenizer_directory=reference.tokenizer_directory or reference.directory,
    )


def _aligned_leaf(leaf: Any, reference: Any, rows: np.ndarray) -> Any:
    """Align a leaf. An adapter adds nothing to the rows that come from the reference."""
    if isinstance(leaf, Unchanged):
        return Unchanged((len(rows), *leaf.shape[1:]), leaf.dtype)
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((len(rows), *leaf.shape[1:]), leaf.dtype)
    if isinstance(leaf, LowRank):
        none = jnp.zeros((len(rows), leaf.b.shape[1]), leaf.b.dtype)
        return dataclasses.replace(leaf, b=align_rows(leaf.b, none, rows))
    return align_rows(leaf, reference, rows)


def _kind(tokenizer: "PreTrainedTokenizerFast") -> str:
    return type(tokenizer.backend_tokenizer.model).__name__
