"""The snapshots of repositories on the Hugging Face hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from evojax_merge.checkpoints.errors import CheckpointError


def fetch(
    name: str,
    revision: str | None,
    patterns: Sequence[str],
    kind: Literal["model", "dataset"] = "model",
) -> Path:
    """Return the directory of a snapshot, downloaded where it is not there yet.

    Args:
        name: The name of the repository, ``owner/name``.
        revision: A branch, tag or commit, or None for the default branch.
        patterns: The patterns of the names of the wanted files.
        kind: What the repository holds.

    Raises:
        CheckpointError: The hub does not give the snapshot, or cannot be reached.
    """
    try:
        found = snapshot_download(
            name, revision=revision, allow_patterns=list(patterns), repo_type=kind
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        source = name if revision is None else f"{name}@{revision}"
        before = "no such directory, and " if kind == "model" else ""
        raise CheckpointError(f"{source}: {before}{_reason(error, kind)}") from error
    return Path(found)


def in_cache(name: str, revision: str | None, file: str) -> Path | None:
    """Return a file of a repository that was downloaded before; None where it was not.

    Args:
        name: The name of the repository, ``owner/name``.
        revision: A branch, tag or commit, or None for the default branch.
        file: The name of the file.
    """
    try:
        found = try_to_load_from_cache(name, file, revision=revision)
    except HFValidationError:  # no name that a repository can have
        return None
    return Path(found) if isinstance(found, str) else None


def _reason(error: Exception, kind: str) -> str:
    """Say why the hub gave nothing."""
    if isinstance(error, GatedRepoError):
        return "the hub's repository is gated; accept its terms there and log in: hf auth login"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has none of this name; if it is private, log in: hf auth login"
    if isinstance(error, RevisionNotFoundError):
        return "the hub's repository has no such revision"
    if isinstance(error, LocalEntryNotFoundError | ConnectionError):
        return (
            "the Hugging Face hub cannot be reached (and nothing of this name was downloaded "
            f"before); check the connection, or give a {'directory' if kind == 'model' else 'file'}"
        )
    return f"the hub gave nothing by this name ({str(error).strip().splitlines()[0]})"
