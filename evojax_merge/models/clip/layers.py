"""The modules that both towers of CLIP are built of.

Weights keep the checkpoint's ``[out, in]`` layout, so that loading and exporting move bytes and
nothing else.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.activations import activate
from evojax_merge.models.clip.attention import attend
from evojax_merge.models.clip.config import TowerConfig
from evojax_merge.models.probe import observed
from evojax_merge.params.types import Array, Float


class Linear(nnx.Module):
    """y = W x + b with W of shape [out, in], as checkpoints store it."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True, *, rngs: nnx.Rngs):
        self.weight = nnx.Param(normal(rngs, (outputs, inputs)))
        if bias:
            self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        y = jnp.einsum("...i,oi->...o", observed(self, x), self.weight[...])
        return y + self.bias[...] if hasattr(self, "bias") else y


class LayerNorm(nnx.Module):
    """(x − mean) / √(variance + ε) · w + b, computed in float32 (Ba et al., 2016, 1607.06450)."""

    def __init__(self, config: TowerConfig):
        self.weight = nnx.Param(jnp.ones(config.hidden_size))
        self.bias = nnx.Param(jnp.zeros(config.hidden_size))
        self.epsilon = config.layer_norm_eps

    def __call__(self, x: Float[Array, "*batch hidden"]) -> Float[Array, "*batch hidden"]:
        wide = x.astype(jnp.float32)
        wide -= jnp.mean(wide, axis=-1, keepdims=True)
        scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.epsilon)
        weight, bias = (part[...].astype(jnp.float32) for part in (self.weight, self.bias))
        return (wide * scale * weight + bias).astype(x.dtype)


class Attention(nnx.Module):
    """Multi-head attention over all positions, or over those that are not later."""

    def __init__(self, config: TowerConfig, causal: bool, *, rngs: nnx.Rngs):
        width = config.hidden_size
        self.q_proj = Linear(width, width, rngs=rngs)
        self.k_proj = Linear(width, width, rngs=rngs)
        self.v_proj = Linear(width, width, rngs=rngs)
        self.out_proj = Linear(width, width, rngs=rngs)
        self.heads = config.num_heads
        self.causal = causal

    def __call__(self, x: Float[Array, "batch seq hidden"]) -> Float[Array, "batch seq hidden"]:
        split = (*x.shape[:2], self.heads, -1)
        q, k, v = (part(x).reshape(split) for part in (self.q_proj, self.k_proj, self.v_proj))
        mixed = attend(q, k, v, self.causal)
        return self.out_proj(mixed.reshape(x.shape))


class MLP(nnx.Module):
    """fc2(act(fc1(x)))."""

    def __init__(self, config: TowerConfig, *, rngs: nnx.Rngs):
        self.fc1 = Linear(config.hidden_size, config.intermediate_size, rngs=rngs)
        self.fc2 = Linear(config.intermediate_size, config.hidden_size, rngs=rngs)
        self.activation = config.hidden_act

    def __call__(self, x: Float[Array, "batch seq hidden"]) -> Float[Array, "batch seq hidden"]:
        return self.fc2(activate(self.activation, self.fc1(x)))


class Layer(nnx.Module):
    """Attention and MLP, each on a normalised copy of the residual stream."""

    def __init__(self, config: TowerConfig, causal: bool, *, rngs: nnx.Rngs):
        self.layer_norm1 = LayerNorm(config)
        self.self_attn = Attention(config, causal, rngs=rngs)
        self.layer_norm2 = LayerNorm(config)
        self.mlp = MLP(config, rngs=rngs)

    def __call__(self, x: Float[Array, "batch seq hidden"]) -> Float[Array, "batch seq hidden"]:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


def normal(rngs: nnx.Rngs, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Draw random weights with σ = 0.02."""
    return 0.02 * jax.random.normal(rngs.params(), shape)
