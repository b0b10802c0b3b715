"""Tokenizers without the tokens that their models have no rows for."""

import copy
import json
from typing import TYPE_CHECKING, Any

from evojax_merge.exchange.errors import ExchangeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def without_tokens(
    tokenizer: "PreTrainedTokenizerFast", rows: int, name: str
) -> "PreTrainedTokenizerFast":
    """Return the tokenizer, or a copy of it without the tokens whose ids are ``rows`` or more.

    Args:
        tokenizer: The tokenizer of a model.
        rows: The number of rows of the model's tables.
        name: What messages call the model.

    Raises:
        ExchangeError: The tokenizer cannot do without one of these tokens.
    """
    from tokenizers import Tokenizer

    beyond = {token for token, row in tokenizer.get_vocab().items() if row >= rows}
    if not beyond:
        return tokenizer
    tree = json.loads(tokenizer.backend_tokenizer.to_str())
    tree["added_tokens"] = [token for token in tree["added_tokens"] if token["id"] < rows]
    model = tree["model"]
    if isinstance(model["vocab"], list):  # of Unigram: pieces in the order of their ids
        model["vocab"] = model["vocab"][:rows]
    else:
        model["vocab"] = {token: row for token, row in model["vocab"].items() if row < rows}
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not _parts(pair) & beyond]
    result = copy.deepcopy(tokenizer)
    try:
        # transformers has no way to give a tokenizer another vocabulary.
        result._tokenizer = Tokenizer.from_str(json.dumps(tree))
        put_before_texts = result._tokenizer.encode("").ids
        if any(number >= rows for number in put_before_texts):
            raise ValueError("it puts one before every text")
    except Exception as error:  # the library raises no narrower one
        raise ExchangeError(
            f"tokenizer: that of {name} has tokens beyond the {rows} rows of its tables, e.g. "
            f"{min(beyond)!r}, and cannot do without them ({error}); remove them from it"
        ) from None
    for role, token in tokenizer.special_tokens_map.items():
        if token in beyond:
            setattr(result, role, None)
    return result


def _parts(pair: Any) -> set[str]:
    """Return the two tokens of a merge and what it makes of them, in either spelling."""
    left, right = pair.split(" ") if isinstance(pair, str) else pair
    return {left, right, left + right}
