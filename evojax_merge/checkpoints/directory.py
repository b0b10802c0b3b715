"""The place of a checkpoint's files: a local directory, or a snapshot of a hub repository."""

import re
from pathlib import Path
from typing import Any, NamedTuple

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
_WEIGHTS = ("*.safetensors", "*.safetensors.index*.json")
_DOWNLOADED = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "model_index.json",
    "README.md",
    "*/config.json",
    "*/preprocessor_config.json",
    "scheduler/*.json",
    "tokenizer/*",
    "tokenizer_2/*",
)

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""The ends of the names of files of weights that run code when they are read."""


def resolve(source: str | Path, weights: bool = True) -> Path:
    """Find the directory of a checkpoint, or its file where one file is all of it.

    Args:
        source: A directory, a safetensors file, or ``owner/name`` or ``owner/name@revision`` on the
            Hugging Face hub, of which only safetensors, configuration and tokenizer are fetched.
            What is on disk wins.
        weights: Whether weights are fetched, too.

    Raises:
        CheckpointError: There is no such directory, file or repository, or the file is none of
            safetensors.
    """
    try:
        path = at_home(source)
    except DocumentError as error:
        raise CheckpointError(f"{source}: {error}; give a directory, or owner/name") from None
    if path.is_dir():
        return path
    if path.is_file() and path.suffix == ".safetensors":
        return path
    if path.is_file() and path.suffix in PICKLES:
        raise CheckpointError(
            f"{path}: is pickled, and runs code when it is read; convert it where that may happen: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True)['state_dict'], "
            "'FILE.safetensors')"
        )
    if path.exists():
        raise CheckpointError(
            f"{path}: is a file; give the checkpoint's directory, or a safetensors file"
        )
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
        raise CheckpointError(f"{path}: no such directory or file")
    name, _, revision = source.partition("@")
    from evojax_merge.checkpoints.hub import fetch

    wanted = (*(_WEIGHTS if weights else ()), *_DOWNLOADED, *TOKENIZER_FILES, *PROCESSOR_FILES)
    return fetch(name, revision or None, wanted)


_SNAPSHOT = re.compile(r"models--([\w.-]+?)--([\w.-]+)")
"""The name of the folder that the hub's cache has for a repository."""


class HubId(NamedTuple):
    """A repository of the Hugging Face hub.

    Attributes:
        name: Its name, ``owner/name``.
        revision: The branch, tag or commit; None for the default branch.
    """

    name: str
    revision: str | None


def hub_id(source: str) -> HubId | None:
    """The repository of the hub that a source is of; None of what lies elsewhere.

    Args:
        source: The source, as `resolve` takes it. A directory may be a snapshot in the hub's cache.
    """
    path = Path(source).expanduser()
    if "snapshots" in path.parts:
        place = path.parts.index("snapshots")
        repository, revision = path.parts[place - 1], (*path.parts, "")[place + 1]
        found = _SNAPSHOT.fullmatch(repository)
        return None if found is None else HubId(f"{found[1]}/{found[2]}", revision or None)
    if path.exists() or not _HUB_ID.fullmatch(source):
        return None
    name, _, of = source.partition("@")
    return HubId(name, of or None)


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
    for folder in (home, home.parent):  # of a snapshot, or of a part of one
        if folder.parent.name == "snapshots":
            allowed.append(folder.parent.parent / "blobs")
    if not any(real.is_relative_to(place) for place in allowed):
        raise CheckpointError(
            f"{path}: leads out of the checkpoint, to {real}; replace the link by the file itself"
        )
    if real.exists() and not real.is_file():
        raise CheckpointError(f"{path}: is no regular file; replace it by one, or remove it")
    return path


def subfolder(directory: Path, name: str) -> Path:
    """Return the path of a folder in a checkpoint's directory, whether or not there is one.

    Raises:
        CheckpointError: The name is none of a folder beside the others, or it leads elsewhere.
    """
    path = directory / name
    if name in ("", ".", "..") or set(name) & set("/\\:\0"):
        raise CheckpointError(f"{path}: is no name of a folder")
    try:
        home, real = directory.resolve(), path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise CheckpointError(f"{path}: leads nowhere ({error}); replace it by a folder") from None
    if real.parent != home:
        raise CheckpointError(
            f"{path}: leads out of the checkpoint, to {real}; replace the link by the folder itself"
        )
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
