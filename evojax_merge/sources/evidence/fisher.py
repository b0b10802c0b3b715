"""The diagonal empirical Fisher information: the mean square of each item's gradient.

Matena and Raffel, Merging models with Fisher-weighted averaging, arXiv 2111.09832, section 3.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models import Family
from evojax_merge.params.on_host import fetch
from evojax_merge.params.placing import zeros_beside
from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Array, Params
from evojax_merge.sources.evidence.items import Items, labelled


def collect_fisher(
    family: Family, config: Any, params: Params, items: Items
) -> dict[str, np.ndarray]:
    """The mean over the items of the squared gradient of an item's log-likelihood, by leaf path.

    It takes memory for the parameters, one gradient and one float32 tree. Gradients are taken in
    the dtype of the parameters, but in float32 for float16, where they would vanish. They are
    squared and summed in float32.
    """
    loglikelihood = family.abilities[labelled(family)].loglikelihood(config)

    @functools.partial(jax.jit, donate_argnums=0)
    def add(total: Params, params: Params, fields: Any, real: Array) -> Params:
        params = jax.tree.map(_wide, params)

        def one(total: Params, row: Any) -> tuple[Params, None]:
            fields, real = row
            gradient = jax.grad(loglikelihood)(params, *fields)
            return jax.tree.map(
                lambda t, g: t + real * jnp.square(g.astype(jnp.float32)), total, gradient
            ), None

        return jax.lax.scan(one, total, (fields, real))[0]

    total = jax.tree.map(lambda leaf: zeros_beside(leaf, leaf.shape, jnp.float32), params)
    for batch in items.batches():
        total = add(total, params, batch.fields, batch.real)
    count = np.float32(items.count)
    return {path: fetch(leaf) / count for path, leaf in flatten(total).items()}


def _wide(leaf: Array) -> Array:
    return leaf.astype(jnp.float32) if leaf.dtype == jnp.float16 else leaf
