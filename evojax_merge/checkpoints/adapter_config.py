"""What the ``adapter_config.json`` of a LoRA adapter says of how its factors are scaled."""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from evojax_merge.checkpoints.directory import member, read_json
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.checkpoints.headers import INDEX, WEIGHTS
from evojax_merge.documents.errors import named, shown
from evojax_merge.documents.schema import Document, number, read, whole

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
"""The options that change what an adapter computes -> how they do."""

_KNOWN = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config",
    "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout",
    "lora_ga_config", "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_pattern", "revision", "runtime_config", "target_modules", "task_type", "use_rslora",
}  # fmt: skip
"""The options that are read here, or that concern training alone."""

_INITIALISED = (None, True, False, "gaussian", "eva", "orthogonal")
"""The values of ``init_lora_weights`` that leave the base's weights as they are."""


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
    """The numbers of an adapter.

    Attributes:
        rank: The rank of the factors, where ``rank_pattern`` does not say otherwise.
        alpha: The numerator of the scale, where ``alpha_pattern`` does not say otherwise.
        rank_pattern: A regular expression of the end of a module's name -> rank.
        alpha_pattern: A regular expression of the end of a module's name -> alpha.
        rank_stabilised: Whether alpha is divided by the root of the rank (rsLoRA, arXiv
            2312.03732), and not by the rank.
        target_modules: The ends of the names of the adapted modules. It is empty where the file has
            an expression.
    """

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    rank_stabilised: bool
    target_modules: tuple[str, ...]

    def rank_of(self, module: str) -> int:
        """Return the rank of the factors of a module."""
        return _matching(self.rank_pattern, module, self.rank)

    def scale_of(self, module: str) -> float:
        """Return what the product of a module's factors is multiplied by."""
        rank = self.rank_of(module)
        alpha = _matching(self.alpha_pattern, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def digest(self) -> bytes:
        """Hash the numbers that a merge depends on by SHA-256."""
        numbers = dataclasses.asdict(self)
        del numbers["target_modules"]
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).digest()


def is_adapter_directory(directory: Path) -> bool:
    """Tell whether a directory holds an adapter, and no model's weights beside it."""
    weights = [member(directory, name) for name in (WEIGHTS, INDEX)]
    adapter = member(directory, ADAPTER_CONFIG)
    return adapter.exists() and not any(path.exists() for path in weights)


def read_adapter_config(directory: Path) -> AdapterConfig:
    """Read and check ``adapter_config.json``.

    Raises:
        CheckpointError: The file is missing or damaged, or says that the adapter does what cannot
            be merged. Everything of that kind is listed.
    """
    path = member(directory, ADAPTER_CONFIG)
    written = read_json(path)
    problems = _problems(written)
    if problems:
        raise CheckpointError(f"{path}: this adapter cannot be merged:\n  " + "\n  ".join(problems))
    if isinstance(written.get("target_modules"), str):  # an expression
        written["target_modules"] = None
    given = read(_Written, written, str(path), CheckpointError)
    return AdapterConfig(
        rank=given.r,
        alpha=written["lora_alpha"],  # 16 or 16.0 as it stands: the digest tells them apart
        rank_pattern=given.rank_pattern or {},
        alpha_pattern=dict(written.get("alpha_pattern") or {}),
        rank_stabilised=bool(given.use_rslora),
        target_modules=tuple(given.target_modules or ()),
    )


_Rank = Annotated[int, whole(1, 2**16)]
_Alpha = Annotated[float, number(1e-30, 1e30)]


class _Written(Document):
    r: _Rank
    lora_alpha: _Alpha
    rank_pattern: dict[str, _Rank] | None = None
    alpha_pattern: dict[str, _Alpha] | None = None
    use_rslora: bool | None = None
    target_modules: list[str] | None = None


def _problems(given: Mapping[str, Any]) -> list[str]:
    kind = given.get("peft_type")
    if kind != "LORA":
        return [f"peft_type is {shown(kind)}; only LORA is supported"]
    found = [f"{name} is set: {why}" for name, why in _UNSUPPORTED.items() if given.get(name)]
    if given.get("bias", "none") != "none":
        found.append(f"bias is {shown(given['bias'])}: it holds biases besides factors; use none")
    if given.get("init_lora_weights") not in _INITIALISED:
        found.append(
            f"init_lora_weights is {shown(given['init_lora_weights'])}, which changes the base's "
            "weights; convert it with save_pretrained(path_initial_model_for_weight_conversion=…)"
        )
    for name in sorted(given.keys() - _KNOWN - _UNSUPPORTED.keys()):
        if given[name]:
            found.append(
                f"{named(name)} is not known here; remove it if it does not change what is computed"
            )
    for name in ("rank_pattern", "alpha_pattern"):
        if isinstance(pattern := given.get(name), Mapping):
            found += _pattern_problems(name, pattern)
    return found


def _pattern_problems(name: str, pattern: Mapping[str, Any]) -> list[str]:
    """List the expressions that are none, or that could be tried for ever.

    PEFT itself writes names of modules.
    """
    found = []
    for key in pattern:
        try:
            re.compile(key)
        except (re.error, OverflowError, RecursionError) as error:
            found.append(f"{name}: {shown(key)} is no regular expression ({error})")
            continue
        if len(_REPEATED.findall(key)) > _MOST_REPEATED or _REPEATED_GROUP.search(key):
            found.append(
                f"{name}: {shown(key)} repeats a group, or more than {_MOST_REPEATED} parts, which "
                "can take for ever; write the names of the modules"
            )
    return found


_REPEATED = re.compile(r"(?<!\\)[*+{]")
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_MOST_REPEATED = 3
"""The most repetitions of an expression. Each may try as often as a module's name has letters."""


def _matching(pattern: Mapping[str, Any], module: str, otherwise: Any) -> Any:
    """Return the value of the first expression that matches the end of a name, as in PEFT."""
    for key, value in pattern.items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return otherwise
