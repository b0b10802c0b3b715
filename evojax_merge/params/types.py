"""Shared array types and the axis names that annotations use.

Axis names: ``pop`` candidates, ``dims`` genes of a genotype, ``sources`` merged checkpoints,
``layers`` decoder layers, ``batch`` sequences, ``seq`` positions, ``items`` of a fitness task,
``vocab`` tokens, ``hidden`` model width, ``heads`` and ``kv_heads`` attention heads.
"""

from typing import Any

from jaxtyping import Array, Bool, Float, Int, Key, UInt, UInt8

Params = dict[str, Any]
"""A nested plain dictionary of arrays, which holds the weights of one network and nothing else."""

Genotype = Float[Array, " dims"]
Population = Float[Array, "pop dims"]
Fitness = Float[Array, " pop"]

Tokens = Int[Array, "batch seq"]
PRNGKey = Key[Array, ""]

__all__ = [
    "Array",
    "Bool",
    "Fitness",
    "Float",
    "Genotype",
    "Int",
    "Key",
    "PRNGKey",
    "Params",
    "Population",
    "Tokens",
    "UInt",
    "UInt8",
]
