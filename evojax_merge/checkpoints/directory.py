"""The place of a checkpoint's files: a local directory, or a snapshot of a hub repository."""

import re
from pathlib import Path
from typing import Any

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import at_home, read_text
from evojax_merge.documents.json_text import load_object

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "normalizer.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "*.model.v*",
    "*.tiktoken",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
"""The patterns of the names of a tokenizer's files, of whatever library."""

PROCESSOR_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)
"""The names of the files that say how what is no text is brought to the model."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")
_DOWNLOADED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
)


def resolve(source: str | Path) -> Path:
    """Find the directory of a checkpoint.

    Args:
        source: A directory, or ``owner/name`` or ``owner/name@revision`` on the Hugging Face hub,
            of which only safetensors, configuration and tokenizer are fetched. A directory wins.

    Raises:
        CheckpointError: There is no such directory and no such repository.
    """
    try:
        path = at_home(source)
    except DocumentError as error:
        raise CheckpointError(f"{source}: {error}; give a directory, or owner/name") from None
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{path}: is a file; give the checkpoint's directory")
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
        raise CheckpointError(f"{path}: no such directory")
    name, _, revision = source.partition("@")
    from evojax_merge.checkpoints.hub import fetch

    wanted = (*_DOWNLOADED, *TOKENIZER_FILES, *PROCESSOR_FILES)
    return fetch(name, revision or None, wanted)


def member(directory: Path, name: str) -> Path:
    """Return the path of a checkpoint's file of this name, whether or not there is one.

    Every file of a checkpoint is opened by this path. A link may lead to another file of the same
    checkpoint or, from a snapshot in the hub's cache, to the blobs beside it. A stranger's link to
    any other file would put that file's content into what is read and exported.

    Args:
        directory: The directory of the checkpoint.
        name: The name of the file, perhaps in a folder below.

    Raises:
        CheckpointError: The name leads out of the checkpoint, or to something that is no regular
            file (a directory, a pipe, a device).
    """
    path = directory / name
    try:
        home, real = directory.resolve(), path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise CheckpointError(f"{path}: leads nowhere ({error}); replace it by a file") from None
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    if not any(real.is_relative_to(place) for place in allowed):
        raise CheckpointError(
            f"{path}: leads out of the checkpoint, to {real}; replace the link by the file itself"
        )
    if real.exists() and not real.is_file():
        raise CheckpointError(f"{path}: is no regular file; replace it by one, or remove it")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        CheckpointError: The file is missing, no regular file, or not a JSON object, it is nested
            too deeply, or it has a key twice.
    """
    try:
        return load_object(read_text(path))
    except DocumentError as error:
        raise CheckpointError(f"{path}: {error}") from None
