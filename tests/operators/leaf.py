"""One tensor, for tests that compare numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.steps.random_mask import layer_keys, leaf_key

PATH = "layers.w"


def tensors(count, shape=(30, 40), seed=0, scale=0.1):
    """A base and fine-tunes of it as float32 NumPy arrays."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal(shape, dtype=np.float32)
    return base, tuple(
        base + scale * rng.standard_normal(shape, dtype=np.float32) for _ in range(count)
    )


def merge_leaf(operator, base, sources, /, layered=False, seed=0, **coefficients):
    """Statistics and merge of one leaf, compiled, as a search computes it."""
    key, sources = leaf_key(seed, PATH), tuple(sources)
    if layered:
        key = layer_keys(key, sources[0].shape[0])
    arrays = {name: jnp.asarray(value, jnp.float32) for name, value in coefficients.items()}
    statistics = operator.init(base, sources, layered)
    return jax.jit(operator.merge)(base, sources, arrays, statistics, key)
