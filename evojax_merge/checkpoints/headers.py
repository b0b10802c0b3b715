"""The tensors of a checkpoint directory, read from the headers of its safetensors files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from evojax_merge.checkpoints.directory import PICKLES, member, read_json
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.documents.errors import shown
from evojax_merge.documents.schema import Document, read

STEM = "model"
"""What the names of files of weights begin with."""

WEIGHTS = f"{STEM}.safetensors"
INDEX = f"{STEM}.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"

DTYPES: dict[str, np.dtype] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}

_STEMS = (STEM, "diffusion_pytorch_model")
"""What these names begin with in transformers, and in diffusers."""

_VARIANTS = (None, "fp16", "bf16")
"""The variants of the same weights that a directory may hold, the wanted one first."""


class TensorInfo(NamedTuple):
    """One tensor as a header describes it, and how it is taken from its file.

    What a file holds in another shape of as many elements is reshaped where it is read.

    Attributes:
        file: The file that holds it.
        name: The name in that file, which may not be the one that a checkpoint knows it by.
        dtype: The dtype in safetensors' spelling (``BF16``).
        shape: The shape as a checkpoint has it.
        rows: The first row and the one after the last, where the file holds it in a longer tensor.
        transposed: Whether the file holds a matrix with rows for columns.
    """

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    rows: tuple[int, int] | None = None
    transposed: bool = False


@contextlib.contextmanager
def open_safetensors(path: Path) -> Iterator[safe_open]:
    """Open a safetensors file, read by ``pread`` so that no part of it stays mapped.

    Raises:
        CheckpointError: The file is missing, truncated or otherwise damaged.
    """
    try:
        with safe_open(path, "numpy", backend="pread") as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: truncated or damaged ({error}); fetch or write it again"
        ) from error


def stem_of(directory: Path) -> str:
    """Return what the names of a checkpoint's files of weights begin with."""
    return _found(directory)[0]


def _names(directory: Path) -> tuple[str, str]:
    """Return the names of the single file, and of the index of several."""
    return _found(directory)[1:]


def _found(directory: Path) -> tuple[str, str, str]:
    """Return the stem of the names, and the names of the single file and of the index."""
    for variant in _VARIANTS:
        part = "" if variant is None else f".{variant}"
        for stem in _STEMS:
            names = f"{stem}{part}.safetensors", f"{stem}.safetensors.index{part}.json"
            if any(member(directory, name).exists() for name in names):
                return stem, *names
    return STEM, WEIGHTS, INDEX


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint: the single one, or those its index names.

    Raises:
        CheckpointError: There is no such file, or the index or a link leads out of the directory.
    """
    single, index = _names(directory)
    if (path := member(directory, single)).exists():
        return [path]
    if member(directory, index).exists():
        return [member(directory, file) for file in sorted(set(_weight_map(directory).values()))]
    pickles = sorted(path.name for path in directory.iterdir() if path.suffix in PICKLES)
    if pickles:
        library, cls = "transformers", "AutoModelForCausalLM"
        if any(name.startswith(_STEMS[1]) for name in pickles):
            library, cls = "diffusers", "DiffusionPipeline"
        raise CheckpointError(
            f"{directory}: holds pickled weights only ({', '.join(pickles)}), which run code when "
            f"they are read; convert them with {library}: "
            f"{cls}.from_pretrained(...).save_pretrained(...)"
        )
    singles = " nor ".join(f"{stem}.safetensors" for stem in _STEMS)
    raise CheckpointError(
        f"{directory}: holds no weights: neither {singles}, nor an index of several such files; "
        "fetch or write them again"
    )


def adapter_file(directory: Path) -> Path:
    """Return the safetensors file of a LoRA adapter, which may be all of it.

    Raises:
        CheckpointError: There is no such file.
    """
    if directory.is_file():
        return directory
    path = member(directory, ADAPTER)
    if path.exists():
        return path
    if (directory / "adapter_model.bin").exists():
        raise CheckpointError(
            f"{directory}: holds pickled weights only (adapter_model.bin), which run code when "
            "they are read; convert them with PEFT: model.save_pretrained(...)"
        )
    raise CheckpointError(f"{path}: missing")


def read_headers(directory: Path) -> dict[str, TensorInfo]:
    """Read every header of a checkpoint's tensors by name. No weights are read.

    Raises:
        CheckpointError: A file is missing or damaged, or the index disagrees with the files.
    """
    files = weight_files(directory)
    single, index = _names(directory)
    indexed = None if files == [directory / single] else _weight_map(directory)
    missing = [path.name for path in files if not path.exists()]
    if missing:
        raise CheckpointError(f"{directory / index}: names missing files: {', '.join(missing)}")
    found: dict[str, TensorInfo] = {}
    problems = []
    for path in files:
        for name, info in file_headers(path).items():
            if name in found:
                problems.append(f"{name}: in both {found[name].file.name} and {path.name}")
            elif indexed is not None and indexed.get(name) != path.name:
                problems.append(f"{name}: in {path.name}, the index says {indexed.get(name)}")
            found[name] = info
    problems += [
        f"{name}: the index says {file}, which lacks it"
        for name, file in (indexed or {}).items()
        if name not in found
    ]
    if problems:
        raise CheckpointError(
            f"{directory / index}: disagrees with the files:\n  " + "\n  ".join(problems)
        )
    return found


def file_headers(path: Path) -> dict[str, TensorInfo]:
    """Read every header of one file's tensors by name. No weights are read.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    with open_safetensors(path) as file:
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {
            name: TensorInfo(path, name, part.get_dtype(), tuple(part.get_shape()))
            for name, part in parts.items()
        }


class _Index(Document):
    weight_map: dict[str, str]


def _weight_map(directory: Path) -> dict[str, str]:
    path = member(directory, _names(directory)[1])
    mapping = read(_Index, read_json(path), str(path), CheckpointError).weight_map
    if not mapping:
        raise CheckpointError(f"{path}: its weight_map is empty")
    # Plain names only, judged as text: a hub snapshot's own files are links out of the directory.
    outside = sorted({file for file in mapping.values() if not _is_plain(file)})
    if outside:
        names = ", ".join(map(shown, outside))
        raise CheckpointError(f"{path}: names files outside its directory: {names}")
    return mapping


def _is_plain(file: str) -> bool:
    return file not in ("", ".", "..") and not set(file) & set("/\\:\0")
