"""A path becomes a plain decoder: the scales of its hops are absorbed exactly into the weights.

Let y be the residual stream divided by C, the running product of the stream's scales. RMSNorm of
C · y is sign(C) times that of y but for its epsilon, so that a hop computes

    y ← y + attention(sign(C) · norm(y)) / C,   y ← y + mlp(sign(C) · norm(y)) / C

which is the same hop with norm weights times sign(C) and output projections divided by C. Where a
norm follows attention or the MLP, its weight is divided in their place, as what it normalises may
have any scale. Where no norm stands before them, the projections that read the stream are
multiplied by C. A scale of the branch alone multiplies what ends the MLP of the hop before. The
final norm takes the sign of the last C. This was checked in float64 for decoders of this family:
logits differ by the norm's epsilon alone.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.params import layout
from evojax_merge.models.decoder.path import Path
from evojax_merge.models.decoder.variants import LayerNorms
from evojax_merge.params.on_host import fetch
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Params

FINAL_NORM = "norm.weight"

LOSS = 0.02
"""The most that rounding may change the weights of a norm that is stored as its distance to 1."""

LARGEST = 1e15
"""The largest product of scales, by which the plain model's residual stream is divided."""


class AbsorptionError(ValueError):
    """Plain weights cannot express a path."""


class Factors(NamedTuple):
    """The factors of each hop's weights, float64 ``[hops]``, and that of the final norm.

    Attributes:
        norms: The factors of the norms before attention and before the MLP.
        stream: The factors of projections that read the stream itself.
        attention: The factors of what ends attention: its output projection, or a norm after it.
        mlp: The factors of what ends the MLP: its output projection, or a norm after it.
        final: The factor of the final norm.
    """

    norms: np.ndarray
    stream: np.ndarray
    attention: np.ndarray
    mlp: np.ndarray
    final: float

    def of(self, path: str, norms: LayerNorms) -> np.ndarray | None:
        """Return what multiplies the leaf at a path, or None where nothing does.

        Args:
            path: The path of a leaf of the layers.
            norms: The names of the norms of a layer.
        """
        name, _, kind = path.removeprefix("layers.").rpartition(".")
        if name in (norms.attention_input, norms.mlp_input):
            return self.norms
        if name == (norms.attention_output or "self_attn.o_proj"):
            return self.attention
        if name == (norms.mlp_output or "mlp.down_proj"):
            return self.mlp
        bare = (norms.attention_input is None and name in _READ_BY_ATTENTION) or (
            norms.mlp_input is None and name in _READ_BY_MLP
        )
        return self.stream if bare and kind == "weight" else None


_READ_BY_ATTENTION = tuple(f"self_attn.{name}_proj" for name in ("q", "k", "v", "qkv"))
_READ_BY_MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.gate_up_proj")


def factors(path: Path) -> Factors:
    """Compute what the weights of each hop are multiplied by.

    Raises:
        AbsorptionError: There is no hop, or a scale is zero or not finite, or the product of the
            scales leaves the range of the numbers.
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
        norms=np.sign(product),
        stream=product,
        attention=1.0 / product,
        mlp=following / product,
        final=float(np.sign(product[-1])),
    )


def absorb(config: DecoderConfig, params: Params, path: Path) -> tuple[DecoderConfig, Params]:
    """Make the plain decoder, with a layer for each hop, that computes what a path computes.

    Args:
        config: The configuration of the pool.
        params: The parameters of the pool: stacked layers, embedding, final norm and head.
        path: The path through the pool.

    Returns:
        The configuration and the parameters of the plain decoder. Products are computed in float32
        and rounded once to each leaf's dtype.

    Raises:
        AbsorptionError: The path has no such `factors`, or a weight leaves the range or the
            precision of its dtype.
    """
    found = factors(path)
    layers = np.asarray(path.layer)[: int(path.length)]
    norms = {f"layers.{name}.weight" for name in config.norms} | {FINAL_NORM}
    plus_one = norms if config.norm == "rms_plus_one" else set()
    absorbed = {}
    stacked = layout(config).stacked
    for name, leaf in flatten(params).items():
        if name in stacked:
            factor = found.of(name, config.norms)
            absorbed[name] = _scaled(fetch(leaf)[layers], factor, name, name in plus_one)
        elif name == FINAL_NORM:
            final = np.array(found.final)
            absorbed[name] = _scaled(fetch(leaf), final, name, name in plus_one)
        else:
            absorbed[name] = leaf
    windows = tuple(config.windows[layer] for layer in layers)
    return (
        dataclasses.replace(config, num_layers=len(layers), windows=windows),
        unflatten(absorbed),
    )


def _scaled(leaf: np.ndarray, factor: np.ndarray | None, name: str, plus_one: bool) -> np.ndarray:
    """Multiply a leaf by a factor for each hop. With ``plus_one`` it stores w for 1 + w."""
    if factor is None or (plus_one and np.all(factor == 1.0)):
        return leaf
    spread = factor.astype(np.float32).reshape(factor.shape + (1,) * (leaf.ndim - factor.ndim))
    with np.errstate(over="ignore"):
        if plus_one:
            wanted = (1.0 + leaf.astype(np.float32)) * spread
            scaled = np.where(spread == 1.0, leaf, (wanted - 1.0).astype(leaf.dtype))
        else:
            scaled = (leaf.astype(np.float32) * spread).astype(leaf.dtype)
    if not np.isfinite(scaled.astype(np.float32)).all():
        raise AbsorptionError(
            f"{name} leaves the range of {leaf.dtype} when the scales are absorbed into it; use "
            "dtype float32 or bfloat16"
        )
    if plus_one:
        lost = np.linalg.norm(1.0 + scaled.astype(np.float32) - wanted, axis=-1)
        if (lost > LOSS * np.linalg.norm(wanted, axis=-1)).any():
            raise AbsorptionError(
                f"{name} is stored as its distance to 1, and in {leaf.dtype} that is too coarse "
                "for what it becomes when the scales are absorbed into it; use dtype float32, or "
                "scales whose product stays nearer to 1"
            )
    return scaled
