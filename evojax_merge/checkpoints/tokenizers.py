"""A checkpoint's fast tokenizer, if it carries one."""

from pathlib import Path
from typing import TYPE_CHECKING

from evojax_merge.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def load_tokenizer(directory: Path) -> "PreTrainedTokenizerFast | None":
    """The fast tokenizer of a directory; None when it holds no vocabulary. No code of it is run.

    Raises:
        CheckpointError: The files are damaged, or give no fast tokenizer.
    """
    if not any((directory / name).exists() for name in _VOCABULARIES):
        return None
    # Half a second to two of import, of which many a merge needs nothing.
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=False, use_fast=True
        )
    except Exception as error:  # the tokenizer backends raise bare Exception
        raise CheckpointError(f"{directory}: the tokenizer cannot be read ({error})") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise CheckpointError(
            f"{directory}: has no fast tokenizer; save one as tokenizer.json "
            "(transformers converts it with AutoTokenizer(...).save_pretrained)"
        )
    return tokenizer
