"""A checkpoint's directory is uploaded to the Hugging Face hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # of its library of HTTP, by whatever name
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id

from evojax_merge.checkpoints.directory import PICKLES, read_json
from evojax_merge.checkpoints.headers import INDEX
from evojax_merge.documents.errors import shown
from evojax_merge.documents.files import irregular, links_out

CARD = "README.md"

STALE = (
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "*/model.safetensors",
    "*/model-*-of-*.safetensors",
    "*/model.safetensors.index.json",
    "*/diffusion_pytorch_model*.safetensors",
    "*/diffusion_pytorch_model*.safetensors.index.json",
)
"""Files that an upload removes from the repository where it does not replace them.

They would be weights of an earlier upload, which transformers might read in the place of new ones.
"""


class PushError(ValueError):
    """The error of a directory that cannot be uploaded, or of a hub that does not take it."""


class Item(NamedTuple):
    """A file that is uploaded: its name below the directory, and its bytes."""

    name: str
    size: int


def listed(directory: Path) -> list[Item]:
    """List what an upload of a checkpoint's directory consists of, after a look at all of it.

    Hidden files are left out.

    Args:
        directory: The directory of the checkpoint.

    Raises:
        PushError: The directory is no whole checkpoint with a card, or holds what should not be
            uploaded.
        CheckpointError: An index cannot be read.
    """
    if not directory.is_dir():
        raise PushError(f"{directory}: no such directory; give an export, or a run that has one")
    if links := links_out(directory):
        raise PushError(
            f"{links[0]}: leads out of the export, and what it leads to would be uploaded; replace "
            "the link by the file itself"
        )
    if found := irregular(directory):
        raise PushError(f"{found[0]}: is no regular file; replace it by one, or remove it")
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    names = {path.relative_to(directory).as_posix(): path.stat().st_size for path in paths}
    items = [Item(name, size) for name, size in names.items() if not _is_hidden(name)]
    _check(directory, items)
    return items


def _check(directory: Path, items: list[Item]) -> None:
    names = {item.name for item in items}
    if not names & {"config.json", "model_index.json"}:
        raise PushError(
            f"{directory}: holds neither config.json nor model_index.json, and is no export"
        )
    weights = [item for item in items if item.name.endswith(".safetensors")]
    if not weights:
        raise PushError(f"{directory}: holds no safetensors, and is no export")
    for item in items:
        if Path(item.name).suffix in PICKLES:
            raise PushError(f"{directory / item.name}: is pickled; remove it before the upload")
        if item.name.endswith(INDEX.removeprefix("model")):
            _check_index(directory / item.name)
    if CARD not in names:
        raise PushError(
            f"{directory}: has no {CARD}, the card that the hub shows; write one, or build the "
            "export again, by evojax-merge resume RUN or apply"
        )


def _check_index(index: Path) -> None:
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise PushError(f"{index}: has no weight_map; build the export again")
    for name in dict.fromkeys(shards.values()):
        if not isinstance(name, str) or not (index.parent / name).is_file():
            raise PushError(f"{index}: names {shown(name)}, which is not there")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def check_name(name: str) -> None:
    """Check that a repository can have a name.

    Raises:
        PushError: It cannot.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise PushError(f"{name}: is no name of a repository ({error})") from None
    if name.count("/") != 1:
        raise PushError(f"{name}: is no name of a repository; give OWNER/NAME")


def upload(
    directory: Path,
    name: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload a checkpoint's directory, into a repository that is made if it is not there.

    The token is that of the environment (``HF_TOKEN``), or of ``hf auth login``. Weights of an
    earlier upload that are not replaced are removed (`STALE`).

    Args:
        directory: The directory, which `listed` has looked at.
        name: The repository, ``owner/name``.
        private: Whether a new repository is private; one that is there stays as it is.
        revision: The branch, which is made if it is not there; by default, the main one.
        message: The message of the commit.
        endpoint: The address of the hub; by default, ``HF_ENDPOINT``, or huggingface.co.

    Returns:
        The address of the commit.

    Raises:
        PushError: The hub cannot be reached, or does not take it.
    """
    check_name(name)
    if get_token() is None:
        raise PushError(
            "there is no token of the Hugging Face hub; log in by `hf auth login`, or set HF_TOKEN"
        )
    api = HfApi(endpoint=endpoint)
    with _explained(api.endpoint, name):
        api.whoami()
        api.create_repo(name, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=name,
            folder_path=directory,
            revision=revision,
            commit_message=message or "Upload a merge made with evojax-merge",
            ignore_patterns=[".*", "*/.*"],
            delete_patterns=list(STALE),
        )
    return str(done.commit_url)


@contextmanager
def _explained(endpoint: str, name: str) -> Iterator[None]:
    """Raise the hub's errors as one line each that says what to do."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise PushError(
            f"{name}: HF_HUB_OFFLINE is set, and nothing can be uploaded; unset it"
        ) from None
    except (HfHubHTTPError, HTTPError, RuntimeError, ValueError, OSError) as error:
        raise PushError(f"{name}: {_reason(endpoint, name, error)}") from error


def _reason(endpoint: str, name: str, error: BaseException) -> str:
    """Say why the hub did not take an upload."""
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__  # of a file
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status == 401:
            return "the hub does not take the token; log in again by `hf auth login`"
        if status == 403:
            owner = name.partition("/")[0]
            return f"the token may not write to {owner}; use one with the right to write there"
        said = (error.server_message or str(error)).strip().splitlines()
        return f"the hub refused it (status {status}): {shown(said[0] if said else '', 200)}"
    if isinstance(error, HTTPError | ConnectionError):
        return f"{endpoint} cannot be reached ({type(error).__name__}); check the connection"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines)[:300]
