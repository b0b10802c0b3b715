"""A path as a plain decoder: the scales of its hops absorbed exactly into the weights.

Let y be the residual stream divided by C, the running product of the stream's scales. RMSNorm of
C · y is sign(C) times that of y but for its epsilon, so that a hop computes

    y ← y + attention(sign(C) · norm(y)) / C,   y ← y + mlp(sign(C) · norm(y)) / C

which are the same hop with norm weights times sign(C) and output projections divided by C. A scale
of the branch alone multiplies the output projection of the MLP of the hop before. The final norm
takes the sign of the last C. Checked in float64 for decoders of this family: logits differ by the
norm's epsilon alone.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.params import layout
from evojax_merge.models.decoder.path import Path
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Params

_NORMS = ("layers.input_layernorm.weight", "layers.post_attention_layernorm.weight")
_ATTENTION = ("layers.self_attn.o_proj.weight", "layers.self_attn.o_proj.bias")
_MLP = ("layers.mlp.down_proj.weight", "layers.mlp.down_proj.bias")
FINAL_NORM = "norm.weight"


LARGEST = 1e15
"""The residual stream of the plain model is that of the path divided by the product of scales."""


class AbsorptionError(ValueError):
    """A path that plain weights cannot express."""


class Factors(NamedTuple):
    """What multiplies a hop's weights, float64 ``[hops]``; ``final`` the final norm."""

    norms: np.ndarray
    attention: np.ndarray
    mlp: np.ndarray
    final: float

    def of(self, path: str) -> np.ndarray | None:
        """Of the leaf at a path, None where nothing multiplies it."""
        for paths, factor in ((_NORMS, self.norms), (_ATTENTION, self.attention), (_MLP, self.mlp)):
            if path in paths:
                return factor
        return None


def factors(path: Path) -> Factors:
    """What the weights of each hop are multiplied by.

    Raises:
        AbsorptionError: There is no hop, or a scale is zero or not finite, or their product leaves
            the range of the numbers.
    """
    length = int(path.length)
    if length == 0:
        raise AbsorptionError("the path is empty; a model needs at least one layer")
    branch = np.asarray(path.branch, np.float64)[:length]
    residual = np.asarray(path.residual, np.float64)[:length].copy()
    residual[0] = branch[0]  # nothing but the embedding enters the first hop
    for hop, scale in enumerate(zip(residual, branch, strict=True)):
        if not np.isfinite(scale).all() or 0.0 in scale:
            raise AbsorptionError(
                f"hop {hop} has the scale {scale[1]:g}; a scale must be finite and not zero"
            )
    product = np.cumprod(residual)
    if not ((abs(product) > 1 / LARGEST) & (abs(product) < LARGEST)).all():
        raise AbsorptionError(
            f"the product of the scales leaves 1 / {LARGEST:g} to {LARGEST:g}, where the squares "
            "that a norm sums leave the range of float32; they cannot be absorbed into weights"
        )
    following = np.append(branch[1:] / residual[1:], 1.0)
    return Factors(
        np.sign(product), 1.0 / product, following / product, float(np.sign(product[-1]))
    )


def absorb(config: DecoderConfig, params: Params, path: Path) -> tuple[DecoderConfig, Params]:
    """The plain decoder with a layer for each hop that computes what the path computes.

    Args:
        config: Of the pool.
        params: The pool: layers stacked, with embedding, final norm and head.
        path: Through it.

    Returns:
        Its configuration and parameters: float32 products rounded once to each leaf's dtype.

    Raises:
        AbsorptionError: See `factors`; or a weight leaves the range of its dtype.
    """
    found = factors(path)
    layers = np.asarray(path.layer)[: int(path.length)]
    absorbed = {}
    stacked = layout(config).stacked
    for name, leaf in flatten(params).items():
        if name in stacked:
            absorbed[name] = _scaled(np.asarray(leaf)[layers], found.of(name), name)
        elif name == FINAL_NORM:
            absorbed[name] = _scaled(np.asarray(leaf), np.array(found.final), name)
        else:
            absorbed[name] = leaf
    windows = tuple(config.windows[layer] for layer in layers)
    return (
        dataclasses.replace(config, num_layers=len(layers), windows=windows),
        unflatten(absorbed),
    )


def _scaled(leaf: np.ndarray, factor: np.ndarray | None, name: str) -> np.ndarray:
    if factor is None:
        return leaf
    spread = factor.astype(np.float32).reshape(factor.shape + (1,) * (leaf.ndim - factor.ndim))
    with np.errstate(over="ignore"):
        scaled = (leaf.astype(np.float32) * spread).astype(leaf.dtype)
    if not np.isfinite(scaled.astype(np.float32)).all():
        raise AbsorptionError(
            f"{name} leaves the range of {leaf.dtype} when the scales are absorbed into it; use "
            "dtype float32 or bfloat16"
        )
    return scaled
