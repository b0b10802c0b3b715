"""Leaves of sources that are known by what they add to a base.

A LoRA adapter holds factors of it. A model that lacks a part of the others adds nothing there.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap

from evojax_merge.params.abstract import computed
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Float, Params


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LowRank:
    """What an adapter adds to one leaf: (scale x b) @ a, layer by layer where it is stacked.

    A layer that is not adapted holds zeros; where ranks differ between layers, the smaller are
    padded with zeros.

    Attributes:
        b: The left factor; a table of tokens has its rows here.
        a: The right factor; of a convolution its columns are the input channels and the kernel.
        scale: The scale of each layer: alpha / rank, or alpha / sqrt(rank).
        kernel: The height and width of the kernel, where the leaf is that of a convolution.
    """

    b: Float[Array, "*layers out rank"]
    a: Float[Array, "*layers rank in"]
    scale: Float[Array, " *layers"]
    kernel: tuple[int, ...] = dataclasses.field(default=(), metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the leaf that it is added to."""
        inputs = self.a.shape[-1] // int(np.prod(self.kernel, dtype=np.int64))
        return (*self.b.shape[:-1], inputs, *self.kernel)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the factors."""
        return self.b.dtype

    @property
    def size(self) -> int:
        """The number of elements of the leaf that it is added to."""
        return int(np.prod(self.shape))

    def task_vector(self) -> Float[Array, "..."]:
        """The dense product in float32."""
        dense = _scaled_product(self.b, self.a, self.scale)
        return dense.reshape(*dense.shape[:-1], *self.shape[self.b.ndim - 1 :])


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Unchanged:
    """A leaf that a source leaves as it is in the base, without memory of its own."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """The number of elements of the leaf."""
        return int(np.prod(self.shape))

    def task_vector(self) -> Float[Array, "..."]:
        """Zeros in float32, which a compiler leaves out."""
        return jnp.zeros(self.shape, jnp.float32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Adapted:
    """Such a leaf together with the base's, as a merge operator is given a source."""

    base: Float[Array, "..."]
    own: LowRank | Unchanged

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the base's leaf."""
        return self.base.shape

    @property
    def ndim(self) -> int:
        """The number of axes of the base's leaf."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the base's leaf."""
        return self.base.dtype

    def task_vector(self) -> Float[Array, "..."]:
        """What the adapter adds, in float32."""
        return self.own.task_vector()

    def whole(self) -> Float[Array, "..."]:
        """The base and what is added to it, in float32."""
        origin = jnp.asarray(self.base).astype(jnp.float32)
        return origin if isinstance(self.own, Unchanged) else origin + self.own.task_vector()

    def __jax_array__(self) -> Float[Array, "..."]:
        return self.whole()

    def task_vector_row(self, layered: bool, layer: int) -> Float[np.ndarray, " elements"]:
        """What is added to one layer, flat, on the host; a CPU gives the bits of `task_vector`."""
        own = self.own
        if isinstance(own, Unchanged):
            return np.zeros(int(np.prod(self.shape[int(layered) :])), np.float32)
        part = slice(layer, layer + 1) if layered else ...
        return np.asarray(_jitted_product(own.b[part], own.a[part], own.scale[part])).reshape(-1)

    def row(self, layered: bool, layer: int) -> Float[np.ndarray, " elements"]:
        """One layer of the whole leaf in float32, flat, on the host."""
        origin = np.asarray(self.base[layer] if layered else self.base).astype(np.float32)
        return origin.reshape(-1) + self.task_vector_row(layered, layer)


def on_base(base: Any, leaf: Any) -> Any:
    """A source's leaf as operators take it: an adapter's becomes `Adapted`, and others stay.

    Raises:
        ValueError: An adapter's leaf has no base.
    """
    if not isinstance(leaf, LowRank | Unchanged):
        return leaf
    if base is None:
        raise ValueError(
            "a source is a LoRA adapter or lacks a part, and needs the base model that it was made "
            "for"
        )
    return Adapted(base, leaf)


def is_adapter(params: Params) -> bool:
    """Whether some leaves of a parameter tree are known by what they add to a base alone."""
    return any(isinstance(leaf, LowRank | Unchanged) for leaf in flatten(params).values())


def materialise(base: Params, source: Params) -> Params:
    """The dense parameters of a source, in the base's dtypes where it adds to the base."""
    bases = flatten(base)
    return unflatten(
        {
            path: computed(_dense, on_base(bases[path], leaf))
            for path, leaf in flatten(source).items()
        }
    )


@jax.custom_vjp
def product(
    b: Float[Array, "*layers out rank"], a: Float[Array, "*layers rank in"]
) -> Float[Array, "*layers out in"]:
    """b @ a in float32, with the same bits for one candidate and for many under vmap.

    A compiler chooses how to multiply by the shapes, and a population's axis is part of them. So
    factors that differ between candidates are multiplied one candidate after another.
    """
    return _one_by_one(b, a)


def _multiply(b: Array, a: Array) -> Array:
    full = jnp.matmul(
        b.astype(jnp.float32), a.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
    )
    return jax.lax.optimization_barrier(full)  # else a sum after it may be fused in, or not


_one_by_one = sequential_vmap(_multiply)


def _forward(b: Array, a: Array) -> tuple[Array, tuple[Array, Array]]:
    return product(b, a), (b, a)


def _backward(factors: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    b, a = factors
    with_b = jnp.matmul(gradient, jnp.swapaxes(a, -1, -2).astype(jnp.float32))
    with_a = jnp.matmul(jnp.swapaxes(b, -1, -2).astype(jnp.float32), gradient)
    return with_b.astype(b.dtype), with_a.astype(a.dtype)


product.defvjp(_forward, _backward)


def _scaled_product(b: Array, a: Array, scale: Array) -> Array:
    return product(scale.astype(jnp.float32)[..., None, None] * b.astype(jnp.float32), a)


_jitted_product = jax.jit(_scaled_product)


def _dense(leaf: Any) -> Any:
    if not isinstance(leaf, Adapted):
        return leaf
    return leaf.base if isinstance(leaf.own, Unchanged) else _rounded(leaf)


@jax.jit
def _rounded(leaf: Adapted) -> Array:
    return leaf.whole().astype(leaf.dtype)
