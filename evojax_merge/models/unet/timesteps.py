"""Numbers as sinusoids."""

import math

import jax.numpy as jnp

from evojax_merge.params.types import Array, Float

_LONGEST = 10_000


def sinusoids(
    numbers: Float[Array, " *batch"], width: int, cosine_first: bool, frequency_shift: float
) -> Float[Array, "*batch width"]:
    """Compute sines and cosines of a number, in float32 (Vaswani et al., 2017, arXiv 1706.03762).

    Args:
        numbers: Numbers such as timesteps, from 0 to 1000 mostly.
        width: The number of sines and cosines. Of an odd one the last is 0.
        cosine_first: Whether the cosines stand before the sines.
        frequency_shift: What is taken from the number of frequencies, by which the log of their
            range is divided.
    """
    half = width // 2
    exponents = jnp.arange(half, dtype=jnp.float32) / (half - frequency_shift)
    angles = numbers.astype(jnp.float32)[..., None] * jnp.exp(-math.log(_LONGEST) * exponents)
    parts = [jnp.cos(angles), jnp.sin(angles)]
    found = jnp.concatenate(parts if cosine_first else parts[::-1], axis=-1)
    return jnp.pad(found, [(0, 0)] * numbers.ndim + [(0, width % 2)])
