"""Attention by a fused kernel, where the backend has one. Scores never stand in memory.

The kernel is FlashAttention (Dao et al., 2022, arXiv 2205.14135), as
`jax.nn.dot_product_attention` offers it.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.extend.backend import get_backend

from evojax_merge.models.target import target
from evojax_merge.params.types import Array, Bool, Float

Implementation = Literal["xla", "cudnn"]


def implementation_for(dtype: Any, head_dim: int) -> Implementation | None:
    """Return the fused kernel for arrays like these on the default backend, or None.

    It computes whole models alone.

    cuDNN computes half precision with heads of a multiple of 8 channels, up to 128 of them, from
    NVIDIA's Ampere generation on, and up to 256 from Hopper on.
    """
    if not target().whole:
        return None
    if jax.default_backend() != "gpu" or "cuda" not in get_backend().platform_version:
        return None
    if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16) or head_dim % 8:
        return None
    capability = min(float(device.compute_capability) for device in jax.local_devices())
    widest = 0 if capability < 8 else 128 if capability < 9 else 256
    return "cudnn" if head_dim <= widest else None


def attend_fused(
    implementation: Implementation,
    q: Float[Array, "batch seq heads head_dim"],
    k: Float[Array, "batch kv_heads head_dim slots"],
    v: Float[Array, "batch kv_heads slots head_dim"],
    seen: Bool[Array, "batch seq slots"],
    scale: float | None = None,
) -> Float[Array, "batch seq heads head_dim"]:
    """Compute `attention.attend` without a soft cap. This is not to be differentiated."""
    return _folded(implementation, scale)(
        q, k.transpose(0, 3, 1, 2), v.swapaxes(1, 2), seen[:, None]
    )


@functools.cache
def _folded(implementation: Implementation, scale: float | None) -> Any:
    """Make the kernel. Under ``vmap`` the mapped axis becomes part of its batch.

    The kernel's own rule does not take a mask or keys that are the same for all of a population.
    """

    @custom_vmap
    def attend(q: Array, k: Array, v: Array, mask: Array) -> Array:
        return jax.nn.dot_product_attention(
            q, k, v, mask=mask, scale=scale, implementation=implementation
        )

    @attend.def_vmap
    def fold(size: int, mapped: list[bool], *arrays: Array) -> tuple[Array, bool]:
        spread = [
            array if own else jnp.broadcast_to(array, (size, *array.shape))
            for array, own in zip(arrays, mapped, strict=True)
        ]
        mixed = attend(*(array.reshape(-1, *array.shape[2:]) for array in spread))
        return mixed.reshape(size, -1, *mixed.shape[1:]), True

    return attend
