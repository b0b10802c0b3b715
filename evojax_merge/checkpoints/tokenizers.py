"""The fast tokenizer of a checkpoint, if it carries one."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from evojax_merge.checkpoints.directory import member, read_json
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.documents.schema import Document, kind, number, read, whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# When it is imported, transformers advises to install torch, which nothing here uses.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")
_READ = (".json", ".jinja", ".model", ".txt", ".tiktoken")
"""The ends of the names of files that transformers may read to make a tokenizer."""

_TEMPLATES = "additional_chat_templates"


def load_tokenizer(directory: Path) -> "PreTrainedTokenizerFast | None":
    """Load the fast tokenizer of a directory, or None without a vocabulary. None of its code runs.

    Raises:
        CheckpointError: The files are damaged, or give no fast tokenizer.
    """
    if not any(member(directory, name).exists() for name in _VOCABULARIES):
        return None
    check_files(directory)
    # Half a second to two of import, of which many a merge needs nothing.
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    with refused(f"{directory}: the tokenizer cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=False, use_fast=True
        )
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise CheckpointError(
            f"{directory}: has no fast tokenizer; save one as tokenizer.json "
            "(transformers converts it with AutoTokenizer(...).save_pretrained)"
        )
    return tokenizer


def check_files(directory: Path) -> None:
    """Check the files that transformers would read of a directory.

    Raises:
        CheckpointError: A file leads out of the checkpoint or is no regular one, or what it says of
            the tokenizer is of another kind than transformers expects.
    """
    for name in _read_names(directory):
        path = member(directory, name)
        if path.suffix == ".json" and path.exists() and name in _SCHEMAS:
            read(_SCHEMAS[name], read_json(path), str(path), CheckpointError)


def _read_names(directory: Path) -> Iterator[str]:
    for path in sorted(directory.iterdir()):
        if path.name.endswith(_READ):
            yield path.name
    templates = directory / _TEMPLATES
    if templates.is_dir():
        for path in sorted(templates.iterdir()):
            yield f"{_TEMPLATES}/{path.name}"


@contextlib.contextmanager
def refused(message: str) -> Iterator[None]:
    """Wrap calls of a tokenizer, whose libraries raise exceptions of any kind.

    Args:
        message: What the error says, before its reason.

    Raises:
        CheckpointError: The call failed.
    """
    try:
        yield
    except BaseException as error:
        # A failed assertion in Rust is no `Exception` of Python.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise CheckpointError(f"{message} ({error})") from error
        raise


_Token = Annotated[Any, kind((str, dict, type(None)), "a text, or a mapping with content")]
_Switch = bool | None


class _TokenizerConfig(Document):
    """The fields of ``tokenizer_config.json`` that transformers uses without checking them."""

    model_max_length: Annotated[float, number()] | None = None
    tokenizer_class: str | None = None
    chat_template: Annotated[Any, kind((str, list, dict, type(None)), "a text, or a list")] = None
    bos_token: _Token = None
    eos_token: _Token = None
    unk_token: _Token = None
    sep_token: _Token = None
    pad_token: _Token = None
    cls_token: _Token = None
    mask_token: _Token = None
    additional_special_tokens: list[_Token] | None = None
    extra_special_tokens: Annotated[Any, kind((list, dict, type(None)), "a list or mapping")] = None
    added_tokens_decoder: dict[str, dict[str, Any]] | None = None
    add_bos_token: _Switch = None
    add_eos_token: _Switch = None
    add_prefix_space: _Switch = None
    clean_up_tokenization_spaces: _Switch = None
    split_special_tokens: _Switch = None
    legacy: _Switch = None
    padding_side: str | None = None
    truncation_side: str | None = None
    model_input_names: list[str] | None = None


class _Added(Document):
    id: Annotated[int, whole()]
    content: str


class _TokenizerFile(Document):
    """The fields of ``tokenizer.json``, whose parts the tokenizers library checks itself."""

    model: dict[str, Any]
    added_tokens: list[_Added] | None = None


class _SpecialTokens(Document):
    bos_token: _Token = None
    eos_token: _Token = None
    unk_token: _Token = None
    pad_token: _Token = None
    additional_special_tokens: list[_Token] | None = None


class _Any(Document):
    """A JSON object of any kind."""


_SCHEMAS: dict[str, type[Document]] = {
    "tokenizer.json": _TokenizerFile,
    "tokenizer_config.json": _TokenizerConfig,
    "special_tokens_map.json": _SpecialTokens,
    "added_tokens.json": _Any,
    "vocab.json": _Any,
    "config.json": _Any,
    "generation_config.json": _Any,
    "chat_template.json": _Any,
}
