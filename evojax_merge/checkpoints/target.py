"""The directory of an export, which appears complete or not at all."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from evojax_merge.checkpoints.directory import PICKLES
from evojax_merge.checkpoints.errors import CheckpointError

_FOLDERS = ("additional_chat_templates",)
"""The folders that an export may have."""

_PIPELINE_FOLDERS = (
    "feature_extractor",
    "image_encoder",
    "safety_checker",
    "scheduler",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "unet",
    "vae",
)
"""The folders that an export of a pipeline may have, beside its ``model_index.json``."""


def is_single(target: str | Path) -> bool:
    """Tell whether the name of a target asks for a single file."""
    return Path(target).suffix == ".safetensors"


def checked_target(directory: str | Path, overwrite: bool) -> Path:
    """Return the absolute path of a directory that an export may be written to.

    An export replaces the whole directory. So a directory is only replaced if it holds what an
    export holds: files, and no folders in which there may be something else.

    Raises:
        CheckpointError: The path is a file, has the name of one that is pickled, or holds something
            that is not to be replaced.
    """
    target = Path(directory).expanduser().absolute()
    if target.suffix in PICKLES and not target.is_dir():
        raise CheckpointError(
            f"{target}: pickled files are not written; give a directory, or NAME.safetensors for a "
            "pipeline in one file"
        )
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target}: is a file; give a directory to write to")
    held = sorted(target.iterdir()) if target.is_dir() else []
    if held and not overwrite:
        raise CheckpointError(f"{target}: is not empty; choose another, or set overwrite")
    known: tuple[str, ...] = _FOLDERS
    if (target / "model_index.json").is_file():
        known += _PIPELINE_FOLDERS
    folders = [path.name for path in held if path.is_dir() and path.name not in known]
    if folders:
        raise CheckpointError(
            f"{target}: holds the folder {folders[0]}, which no export has and which would go with "
            "all else in it; choose another directory, or remove it yourself"
        )
    return target


def checked_file(file: str | Path, overwrite: bool) -> Path:
    """Return the absolute path of a file that an export may be written to.

    Raises:
        CheckpointError: There is something that is not to be replaced.
    """
    target = Path(file).expanduser().absolute()
    if target.is_dir():
        raise CheckpointError(f"{target}: is a directory; give a file, or a name without its end")
    if target.exists() and not overwrite:
        raise CheckpointError(f"{target}: exists; choose another, or set overwrite")
    return target


@contextlib.contextmanager
def file_replacement(target: Path) -> Iterator[Path]:
    """Yield an empty directory, from which a file of a target's name takes the target's place.

    Args:
        target: The path that `checked_file` returned. What is there stays if the block fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield work
        (work / target.name).replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def replacement(target: Path) -> Iterator[Path]:
    """Yield an empty directory, which takes the place of a target once the block has succeeded.

    Args:
        target: The path that `checked_target` returned. What is there stays if the block fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield work
        work.chmod(0o777 & ~_umask())
        _swap(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _swap(work: Path, target: Path) -> None:
    """Put the finished directory in place. What was there goes once nothing can fail any more."""
    if not target.exists():
        work.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    target.rename(old)
    try:
        work.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old)


def recover(target: Path) -> None:
    """Clear away what killed exports left beside their target.

    One that was killed amid the swap may have taken the old directory away without putting the new
    one in place. The old one is put back. Nobody else may be exporting there.
    """
    left = re.compile(rf"\.{re.escape(target.name)}-(?P<old>old-)?[a-z0-9_]{{8}}")  # of mkdtemp
    for path in sorted(target.parent.glob(".*")):
        if path.is_symlink() or not path.is_dir() or not (found := left.fullmatch(path.name)):
            continue
        if found["old"] and not target.exists() and any(path.iterdir()):
            path.rename(target)
        else:
            shutil.rmtree(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
