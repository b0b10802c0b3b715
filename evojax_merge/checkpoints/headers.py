"""What tensors a checkpoint directory holds, from the headers of its safetensors files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from evojax_merge.checkpoints.directory import read_json
from evojax_merge.checkpoints.errors import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"

DTYPES: dict[str, np.dtype] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class TensorInfo(NamedTuple):
    """One tensor as a header describes it; ``dtype`` in safetensors' spelling."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


@contextlib.contextmanager
def open_safetensors(path: Path) -> Iterator[safe_open]:
    """A safetensors file, read by ``pread`` so that no part of it stays mapped.

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


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint: the single one, or those its index names.

    Raises:
        CheckpointError: There is none, or the index names a file outside the directory.
    """
    if (directory / WEIGHTS).exists():
        return [directory / WEIGHTS]
    if (directory / INDEX).exists():
        return sorted({directory / file for file in _weight_map(directory).values()})
    pickles = sorted(path.name for path in directory.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise CheckpointError(
            f"{directory}: holds pickled weights only ({', '.join(pickles)}), which run code when "
            "they are read; convert them with transformers: "
            "AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)"
        )
    raise CheckpointError(f"{directory}: holds neither {WEIGHTS} nor {INDEX}")


def adapter_file(directory: Path) -> Path:
    """The safetensors file of a LoRA adapter.

    Raises:
        CheckpointError: There is none.
    """
    path = directory / ADAPTER
    if path.exists():
        return path
    if (directory / "adapter_model.bin").exists():
        raise CheckpointError(
            f"{directory}: holds pickled weights only (adapter_model.bin), which run code when "
            "they are read; convert them with PEFT: model.save_pretrained(...)"
        )
    raise CheckpointError(f"{path}: missing")


def read_headers(directory: Path) -> dict[str, TensorInfo]:
    """Every tensor of a checkpoint by name; no weights are read.

    Raises:
        CheckpointError: A file is missing or damaged, or the index disagrees with the files.
    """
    files = weight_files(directory)
    indexed = None if files == [directory / WEIGHTS] else _weight_map(directory)
    missing = [path.name for path in files if not path.exists()]
    if missing:
        raise CheckpointError(f"{directory / INDEX}: names missing files: {', '.join(missing)}")
    found: dict[str, TensorInfo] = {}
    problems = []
    for path in files:
        with open_safetensors(path) as file:
            for name in file.keys():  # noqa: SIM118 (safe_open is no mapping)
                part = file.get_slice(name)
                if name in found:
                    problems.append(f"{name}: in both {found[name].file.name} and {path.name}")
                elif indexed is not None and indexed.get(name) != path.name:
                    problems.append(f"{name}: in {path.name}, the index says {indexed.get(name)}")
                found[name] = TensorInfo(path, part.get_dtype(), tuple(part.get_shape()))
    problems += [
        f"{name}: the index says {file}, which lacks it"
        for name, file in (indexed or {}).items()
        if name not in found
    ]
    if problems:
        raise CheckpointError(
            f"{directory / INDEX}: disagrees with the files:\n  " + "\n  ".join(problems)
        )
    return found


def _weight_map(directory: Path) -> dict[str, str]:
    path = directory / INDEX
    mapping = read_json(path).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise CheckpointError(f"{path}: has no weight_map")
    # Plain names only, judged as text: a hub snapshot's own files are links out of the directory.
    outside = sorted({str(file) for file in mapping.values() if not _is_plain(file)})
    if outside:
        raise CheckpointError(f"{path}: names files outside its directory: {', '.join(outside)}")
    return mapping


def _is_plain(file: object) -> bool:
    return isinstance(file, str) and file not in ("", ".", "..") and not set(file) & set("/\\:\0")
