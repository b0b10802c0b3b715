"""Heads of classes that all candidates share, from a file or from a frozen text tower."""

import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from evojax_merge.checkpoints import load, load_config
from evojax_merge.documents.arguments import check_text
from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import at_home, open_regular
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.zero_shot import prompts, tokenized
from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.clip.logits import class_head
from evojax_merge.models.request import Head

_ROWS = 256
"""How many prompts a frozen text tower reads at a time."""


def read_head(path: str) -> Head:
    """Read a head from ``.safetensors`` or ``.npz``.

    The file holds ``weight`` [classes, features], and may hold ``bias`` [classes].

    Raises:
        DataError: The file is missing or damaged, or holds something else.
    """
    try:
        file = at_home(check_text("head", path, empty=False))
        open_regular(file).close()
    except DocumentError as error:
        raise DataError(f"{path}: {error}") from None
    arrays = _arrays(file)
    if "weight" not in arrays or arrays.keys() - {"weight", "bias"}:
        hint = nearest("weight", arrays) if "weight" not in arrays else ""
        raise DataError(
            f"{path}: holds {', '.join(arrays) or 'nothing'}; a head has weight [classes, "
            f"features], and perhaps bias [classes]{hint}"
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
            raise DataError(f"{path}: {name} holds {array.dtype}; give numbers")
    weight, bias = (
        np.asarray(arrays[name], np.float32) if name in arrays else None
        for name in ("weight", "bias")
    )
    assert weight is not None
    fits = weight.ndim == 2 and weight.size and (bias is None or bias.shape == weight.shape[:1])
    if not fits or not all(np.isfinite(one).all() for one in (weight, bias) if one is not None):
        shape = "" if bias is None else f" and bias {bias.shape}"
        raise DataError(
            f"{path}: weight {weight.shape}{shape} must be finite and of [classes, features] and "
            "[classes]"
        )
    return Head(weight, bias)


def frozen_head(source: str, classes: list[str], templates: list[str], task: str) -> Head:
    """The head that the text tower of a CLIP, which is not merged, makes of classes in words.

    Args:
        source: The directory or hub id of a CLIP with both towers.
        classes: The names of the classes, in the order of their numbers.
        templates: The prompts for a name, as `evojax_merge.fitness.zero_shot.prompts` takes them.
        task: The name of the task in messages.

    Raises:
        CheckpointError: The checkpoint is damaged.
        ValueError: The checkpoint is no CLIP with both towers, or its text tower cannot read the
            prompts.
    """
    checkpoint = load_config(source)
    config: Any = checkpoint.config
    if not isinstance(config, CLIPConfig) or config.text is None or config.vision is None:
        raise ValueError(
            f"{task}: fitness.text is {source}, which is no CLIP with a text and a vision tower"
        )
    words = tokenized(prompts(classes, templates), checkpoint, config.text, task)
    params = load(checkpoint, np.float32).params
    run = jax.jit(lambda params, words: class_head(config, params, words, _ROWS))
    weight = np.asarray(run(params, words).weight)
    return Head(weight, None, np.asarray(params["vision"]["projection"]["weight"]))


def _arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, SafetensorError) as error:
        raise DataError(f"{file}: is damaged ({error})") from error
    raise DataError(f"{file}: neither .safetensors nor .npz")
