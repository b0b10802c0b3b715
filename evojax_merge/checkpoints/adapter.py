"""LoRA adapters in PEFT's layout (Hu et al., 2021, arXiv 2106.09685), read onto their base."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from evojax_merge.checkpoints.adapter_config import (
    AdapterConfig,
    is_adapter_directory,
    read_adapter_config,
)
from evojax_merge.checkpoints.adapter_factors import Adapter, Pair, flat_factors, read_factors
from evojax_merge.checkpoints.checkpoint import Baked, Checkpoint
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import DTYPES, TensorInfo, adapter_file, file_headers
from evojax_merge.checkpoints.loader import Model
from evojax_merge.checkpoints.lora_files import is_lora_file, read_lora_file
from evojax_merge.params.low_rank import LowRank, Unchanged
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Params

_PREFIX = "base_model.model."
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?:(?P<linear>[AB])\.weight|embedding_(?P<table>[AB]))")
_COPY = re.compile(r"(?P<module>.+?)(?:\.base_layer)?\.weight")


def is_adapter(path: Path) -> bool:
    """Tell whether a directory or a file holds a LoRA, and no model's weights beside it."""
    return is_lora_file(path) if path.is_file() else is_adapter_directory(path)


def bake(model: Checkpoint, file: Path, strength: float) -> Checkpoint:
    """Return a model to whose weights a LoRA is added as they are read.

    Args:
        model: The model, or the part of one.
        file: The file of the LoRA.
        strength: What its task vector is multiplied by.

    Raises:
        CheckpointError: The file holds no LoRA, or none that fits the model.
    """
    if not is_lora_file(file):
        raise CheckpointError(f"{file}: holds no LoRA, and stands behind a + in model.sources")
    return dataclasses.replace(model, baked=Baked(read_lora_file(file, model), strength))


def load_adapter_config(directory: Path, base: Checkpoint) -> Adapter:
    """Read and audit an adapter's configuration and headers, but no weights.

    Args:
        directory: The directory of the adapter, or its file where one file is all of it.
        base: The model that the adapter was trained on.

    Raises:
        CheckpointError: Files are missing or damaged, the adapter is of a kind that cannot be
            merged, or tensors do not fit it or the base. Every problem is listed.
    """
    if directory.is_file():
        return read_lora_file(directory, base)
    config = read_adapter_config(directory)
    path = adapter_file(directory)
    headers = file_headers(path)
    factors, copies, problems = _sorted_names(headers, base)
    pairs = []
    for (module, table), names in factors.items():
        found = _pair_problems(module, table, names, headers, config, base)
        problems += found
        if not found:
            slot = base.slots[module + ".weight"]
            rank, scale = config.rank_of(module), config.scale_of(module)
            pairs.append(Pair(slot, names["A"], names["B"], table, rank, scale))
    adapted = [module for module, _ in factors]
    problems += [
        f"target_modules: {target} has no factors in {path.name}"
        for target in config.target_modules
        if not any(module == target or module.endswith("." + target) for module in adapted)
    ]
    problems += [
        f"unsupported dtype: {name} is {info.dtype}, supported are {', '.join(DTYPES)}"
        for name, info in headers.items()
        if info.dtype not in DTYPES
    ]
    if not factors and not problems:
        problems.append("holds no factors")
    if problems:
        raise CheckpointError(
            f"{directory}: the adapter does not fit {base.directory}:\n  " + "\n  ".join(problems)
        )
    return Adapter(directory, base, tuple(pairs), copies)


def load_adapter(adapter: Adapter, base: Model) -> Model:
    """Read an adapter's factors. What it leaves as it is takes no memory.

    Args:
        adapter: The adapter, read by `load_adapter_config`.
        base: The loaded model, before any alignment of its vocabulary.

    Returns:
        The base with `evojax_merge.params.low_rank` leaves in place of its parameters.

    Raises:
        CheckpointError: Factors are not finite, or tensors of the base that the file repeats are
            not those of the base. All are listed.
    """
    tensors = read_factors(adapter)
    return dataclasses.replace(
        base, params=_params(adapter, base, tensors), directory=adapter.directory
    )


def _sorted_names(
    headers: Mapping[str, TensorInfo], base: Checkpoint
) -> tuple[dict[tuple[str, bool], dict[str, str]], dict[str, str], list[str]]:
    """Return names of factors by module, copies of the base's tensors, and what is neither."""
    aliases = base.family.layout(base.config).aliases
    factors: dict[tuple[str, bool], dict[str, str]] = {}
    copies, problems = {}, []
    for name, info in headers.items():
        plain = name.removeprefix(_PREFIX)
        if match := _FACTOR.fullmatch(plain):
            side = match["linear"] or match["table"]
            factors.setdefault((match["module"], match["table"] is not None), {})[side] = name
            continue
        match = _COPY.fullmatch(plain)
        original = match["module"] + ".weight" if match else ""
        original = aliases.get(original, original)
        if original not in base.slots:
            problems.append(f"unexpected: {name} {list(info.shape)}")
        elif info.shape != base.slots[original].shape:
            problems.append(
                f"wrong shape: {name} is {list(info.shape)}, in the base it is "
                f"{list(base.slots[original].shape)}"
            )
        else:
            copies[name] = original
    return factors, copies, problems


def _pair_problems(
    module: str,
    table: bool,
    names: Mapping[str, str],
    headers: Mapping[str, TensorInfo],
    config: AdapterConfig,
    base: Checkpoint,
) -> list[str]:
    slot = base.slots.get(module + ".weight")
    if module + ".weight" in base.family.layout(base.config).aliases:
        return [f"adapts {module}, which is tied to another weight; that cannot be merged"]
    if slot is None or len(slot.shape) != 2:
        return [f"adapts {module}, but the base has no weight matrix {module}.weight"]
    tied = base.family.layout(base.config).aliases.values()
    if module + ".weight" in tied:
        return [f"adapts {module}, to which another weight is tied; that cannot be merged"]
    if missing := [side for side in "AB" if side not in names]:
        return [f"missing: lora_{missing[0]} of {module}"]
    rank = config.rank_of(module)
    rows, columns = slot.shape[::-1] if table else slot.shape
    expected = {"A": (rank, columns), "B": (rows, rank)}
    return [
        f"wrong shape: {names[side]} is {list(headers[names[side]].shape)}, rank {rank} and the "
        f"base make it {list(shape)}"
        for side, shape in expected.items()
        if headers[names[side]].shape != shape
    ]


def _params(adapter: Adapter, base: Model, tensors: Mapping[str, np.ndarray]) -> Params:
    by_path: dict[str, list[Pair]] = {}
    for pair in adapter.pairs:
        by_path.setdefault(pair.slot.path, []).append(pair)
    leaves: dict[str, LowRank | Unchanged] = {}
    for path, leaf in flatten(base.params).items():
        if path in by_path:
            leaves[path] = _low_rank(by_path[path], leaf.shape, tensors)
        else:
            leaves[path] = Unchanged(tuple(leaf.shape), np.dtype(leaf.dtype))
    return unflatten(leaves)


def _low_rank(
    pairs: list[Pair], shape: tuple[int, ...], tensors: Mapping[str, np.ndarray]
) -> LowRank:
    layers = shape[:1] if pairs[0].slot.layer is not None else ()
    rows, *inputs = shape[len(layers) :]
    rank = max(pair.rank for pair in pairs)
    b = np.zeros((*layers, rows, rank), np.float32)
    a = np.zeros((*layers, rank, int(np.prod(inputs))), np.float32)
    scale = np.zeros(layers, np.float32)
    for pair in pairs:
        left, right = flat_factors(tensors[pair.b], tensors[pair.a])
        if pair.table:
            left, right = right.T, left.T
        layer = ... if pair.slot.layer is None else pair.slot.layer
        b[layer][:, : pair.rank] = left
        a[layer][: pair.rank] = right
        scale[layer] = pair.scale
    left, right, scales = (jax.device_put(part) for part in (b, a, scale))
    return LowRank(left, right, scales, tuple(inputs[1:]))
