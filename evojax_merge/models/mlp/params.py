"""Where each tensor of an MLP checkpoint lives, and its shape: its name is its path."""

import itertools

from evojax_merge.models.groups import Group
from evojax_merge.models.mlp.config import MLPConfig


def shapes(config: MLPConfig) -> dict[str, tuple[int, ...]]:
    """Path of every leaf -> shape, in the order of the tree."""
    found: dict[str, tuple[int, ...]] = {}
    for number, (inputs, outputs) in enumerate(itertools.pairwise(config.hidden_sizes), start=1):
        found |= {f"fc{number}.bias": (outputs,), f"fc{number}.weight": (outputs, inputs)}
    return dict(sorted(found.items()))


def names(config: MLPConfig) -> dict[str, str]:
    """Path in the tree -> tensor name."""
    layers = range(1, len(config.hidden_sizes))
    paths = [f"fc{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    return {path: path for path in paths}


def linear_inputs(config: MLPConfig) -> dict[str, str]:
    """Weight of each linear layer -> the layer; each reads an input of its own."""
    layers = range(1, len(config.hidden_sizes))
    return {f"fc{layer}.weight": f"fc{layer}" for layer in layers}


def groups(config: MLPConfig) -> dict[str, Group]:
    """Hidden layers are of group ``mlp``, the one that gives the logits is ``head``."""
    last = f"fc{len(config.hidden_sizes) - 1}"
    return {path: "head" if path.split(".")[0] == last else "mlp" for path in names(config)}
