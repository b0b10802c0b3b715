"""The ids of special tokens in configuration files become those of the tokenizer beside them.

``config.json`` and ``generation_config.json`` name tokens by their ids. Where a merge gives a model
another tokenizer, or a fine-tune forgot them, the ids mean other tokens, and generation does not
stop.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from evojax_merge.checkpoints.directory import member, read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ROLES = ("bos", "eos", "pad")
"""The roles of special tokens whose ids both files have."""

_IDS = re.compile(
    r".*_token_ids?|suppress_tokens|begin_suppress_tokens|bad_words_ids|force_words_ids"
)
"""The names of entries that hold ids of tokens, or lists of them."""


class SpecialTokens(NamedTuple):
    """The meaning of a tokenizer's ids.

    Attributes:
        vocabulary: The ids by token.
        own: The ids of the tokenizer's own special tokens by role, such as ``eos``.
    """

    vocabulary: Mapping[str, int]
    own: Mapping[str, int]

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerFast") -> Self:
        """Return the special tokens of a tokenizer."""
        ids = {role: getattr(tokenizer, f"{role}_token_id") for role in ROLES}
        own = {role: int(number) for role, number in ids.items() if number is not None}
        return cls(tokenizer.get_vocab(), own)


def read_special_tokens(directory: Path) -> SpecialTokens | None:
    """Read the special tokens of the ``tokenizer.json`` in a directory, or None without one.

    It is read without transformers, whose import takes longer than many a merge.

    Raises:
        CheckpointError: A file is damaged.
    """
    path = member(directory, "tokenizer.json")
    if not path.exists():
        return None
    vocabulary = _vocabulary(read_json(path))
    named: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):  # the latter counts
        if member(directory, name).exists():
            named |= read_json(member(directory, name))
    own = {}
    for role in ROLES:
        token = named.get(f"{role}_token")
        token = token.get("content") if isinstance(token, Mapping) else token
        if isinstance(token, str) and token in vocabulary:
            own[role] = vocabulary[token]
    return SpecialTokens(vocabulary, own)


def renumbered(
    settings: Mapping[str, Any], written_for: SpecialTokens | None, tokens: SpecialTokens
) -> dict[str, Any]:
    """Make a configuration whose ids are those of a tokenizer.

    Tokens of the tokenizer's own take the place of single ids and join lists. An end token is named
    even where none was, as generation would go on for ever. Other ids are translated by token.
    Those of tokens that the tokenizer lacks become null, or are left out of lists.

    Args:
        settings: The configuration.
        written_for: The special tokens of the tokenizer that the ids are of, or None without one.
        tokens: The special tokens of the new tokenizer.
    """
    found = dict(settings)
    if written_for is None or written_for.vocabulary != tokens.vocabulary:
        known = {} if written_for is None else written_for.vocabulary
        names = {number: token for token, number in known.items()}
        ids = {number: tokens.vocabulary.get(token) for number, token in names.items()}
        found |= {key: _translated(v, ids) for key, v in settings.items() if _IDS.fullmatch(key)}
        # What is not given would be the number that transformers takes for the family.
        found |= {f"{role}_token_id": found.get(f"{role}_token_id") for role in ROLES}
    for role, number in tokens.own.items():
        key = f"{role}_token_id"
        given = found.get(key)
        if key not in found and role != "eos":
            continue
        if not isinstance(given, list):
            found[key] = number
        elif number not in given:
            found[key] = [number, *given]
    return found


def _translated(value: Any, ids: Mapping[int, int | None]) -> Any:
    """Translate an id, a list of them, or a list of phrases without those that lack a token."""
    if not isinstance(value, list):
        return ids.get(value) if type(value) is int else None
    parts = []
    for part in value:
        if isinstance(part, list):
            phrase = [_translated(one, ids) for one in part]
            parts.append(None if None in phrase else phrase)
        else:
            parts.append(_translated(part, ids))
    return [part for part in parts if part is not None] or None


def _vocabulary(tree: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids by token of a ``tokenizer.json``. What is no such file has none."""
    model = tree.get("model")
    held = model.get("vocab") if isinstance(model, Mapping) else None
    pairs: list[tuple[Any, Any]] = []
    if isinstance(held, list):  # of Unigram: pairs of piece and score, in the order of the ids
        pairs += [(piece[0], i) for i, piece in enumerate(held) if isinstance(piece, list)]
    elif isinstance(held, Mapping):
        pairs += held.items()
    added = tree.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, Mapping):
            pairs.append((token.get("content"), token.get("id")))
    return {t: number for t, number in pairs if isinstance(t, str) and type(number) is int}
