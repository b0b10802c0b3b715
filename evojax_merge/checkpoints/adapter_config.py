"""What ``adapter_config.json`` of a LoRA adapter says of how its factors are scaled."""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evojax_merge.checkpoints.directory import read_json
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import INDEX, WEIGHTS

ADAPTER_CONFIG = "adapter_config.json"

_UNSUPPORTED = {
    "alora_invocation_tokens": "it acts on part of a text only (aLoRA)",
    "fan_in_fan_out": "its factors are of transposed weights, as GPT-2 has",
    "layer_replication": "it repeats layers",
    "lora_bias": "its factors have biases",
    "modules_to_save": "it holds whole modules besides factors",
    "target_parameters": "it adapts parameters that are no linear layers",
    "trainable_token_indices": "it holds rows of token tables besides factors",
    "use_dora": "it is a DoRA, which rescales the base's weights",
    "use_qalora": "it is a QALoRA, made for quantised weights",
}
"""Options that change what an adapter computes, and how."""

_KNOWN = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config",
    "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout",
    "lora_ga_config", "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_pattern", "revision", "runtime_config", "target_modules", "task_type", "use_rslora",
}  # fmt: skip
"""Options that are read here, or that concern training alone."""

_INITIALISED = (None, True, False, "gaussian", "eva", "orthogonal")
"""``init_lora_weights`` that leave the base's weights as they are."""


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
    """The numbers of an adapter.

    Attributes:
        rank: Of the factors, where ``rank_pattern`` does not say otherwise.
        alpha: Numerator of the scale, where ``alpha_pattern`` does not say otherwise.
        rank_pattern: Regular expression of the end of a module's name -> rank.
        alpha_pattern: Likewise -> alpha.
        rank_stabilised: Divide by the root of the rank (rsLoRA, arXiv 2312.03732).
        target_modules: Ends of the names of the modules adapted; empty where it is an expression.
    """

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    rank_stabilised: bool
    target_modules: tuple[str, ...]

    def rank_of(self, module: str) -> int:
        """Rank of the factors of a module."""
        return _matching(self.rank_pattern, module, self.rank)

    def scale_of(self, module: str) -> float:
        """What the product of a module's factors is multiplied by."""
        rank = self.rank_of(module)
        alpha = _matching(self.alpha_pattern, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def digest(self) -> bytes:
        """SHA-256 of the numbers that a merge depends on."""
        numbers = dataclasses.asdict(self)
        del numbers["target_modules"]
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).digest()


def is_adapter_directory(directory: Path) -> bool:
    """Whether a directory holds an adapter, and no model's weights beside it."""
    weights = [directory / name for name in (WEIGHTS, INDEX)]
    return (directory / ADAPTER_CONFIG).exists() and not any(path.exists() for path in weights)


def read_adapter_config(directory: Path) -> AdapterConfig:
    """Read and check ``adapter_config.json``.

    Raises:
        CheckpointError: It is missing or damaged, or says that the adapter does what cannot be
            merged; everything of that kind is listed.
    """
    path = directory / ADAPTER_CONFIG
    given = read_json(path)
    problems = _problems(given)
    if problems:
        raise CheckpointError(f"{path}: this adapter cannot be merged:\n  " + "\n  ".join(problems))
    targets = given.get("target_modules") or ()
    return AdapterConfig(
        rank=given["r"],
        alpha=given["lora_alpha"],
        rank_pattern=dict(given.get("rank_pattern") or {}),
        alpha_pattern=dict(given.get("alpha_pattern") or {}),
        rank_stabilised=bool(given.get("use_rslora")),
        target_modules=() if isinstance(targets, str) else tuple(targets),
    )


def _problems(given: Mapping[str, Any]) -> list[str]:
    kind = given.get("peft_type")
    if kind != "LORA":
        return [f"peft_type is {kind!r}; only LORA is supported"]
    found = [f"{name} is set: {why}" for name, why in _UNSUPPORTED.items() if given.get(name)]
    if given.get("bias", "none") != "none":
        found.append(f"bias is {given['bias']!r}: it holds biases besides factors; use none")
    if given.get("init_lora_weights") not in _INITIALISED:
        found.append(
            f"init_lora_weights is {given['init_lora_weights']!r}, which changes the base's "
            "weights; convert it with save_pretrained(path_initial_model_for_weight_conversion=…)"
        )
    for name in sorted(given.keys() - _KNOWN - _UNSUPPORTED.keys()):
        if given[name]:
            found.append(
                f"{name} is not known here; remove it if it does not change what is computed"
            )
    for name in ("r", "lora_alpha"):
        if not _is_number(given.get(name), whole=name == "r"):
            found.append(f"{name} is {given.get(name)!r}; expected a positive number")
    for name in ("rank_pattern", "alpha_pattern"):
        found += _pattern_problems(name, given.get(name) or {})
    targets = given.get("target_modules") or ()
    if not isinstance(targets, str) and not all(isinstance(target, str) for target in targets):
        found.append(f"target_modules is {targets!r}; expected names of modules")
    return found


def _pattern_problems(name: str, pattern: Any) -> list[str]:
    if not isinstance(pattern, Mapping):
        return [f"{name} is {pattern!r}; expected numbers by module"]
    found = []
    for key, value in pattern.items():
        if not _is_number(value, whole=name == "rank_pattern"):
            found.append(f"{name}.{key} is {value!r}; expected a positive number")
        try:
            re.compile(key)
        except re.error as error:
            found.append(f"{name}.{key} is no regular expression ({error})")
    return found


def _is_number(value: Any, whole: bool) -> bool:
    kinds = (int,) if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 < value < math.inf


def _matching(pattern: Mapping[str, Any], module: str, otherwise: Any) -> Any:
    """The value of the first expression that matches the end of a module's name, as in PEFT."""
    for key, value in pattern.items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return otherwise
