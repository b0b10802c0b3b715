"""Gram matrices of what each linear layer reads, for RegMean (Jin et al., arXiv 2212.09849)."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models import Family
from evojax_merge.params.on_host import fetch
from evojax_merge.params.placing import zeros_beside
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Float, Params
from evojax_merge.sources.evidence.items import Items, labelled

Probes = dict[str, Float[Array, "*layers inputs inputs"]]
"""Matrices by the path of a linear layer (see `evojax_merge.models.probe`)."""


def collect_gram(
    family: Family, config: Any, params: Params, items: Items
) -> dict[str, np.ndarray]:
    """The mean of x xᵀ over all inputs x (tokens that are not padding, or examples), float32.

    Returns:
        The matrices ``[inputs, inputs]``, or ``[layers, inputs, inputs]`` of a stacked leaf, by the
        path of the layer that stands for all that read the same input.
    """
    ability, layout = family.abilities[labelled(family)], family.layout(config)
    paths, stacked = layout.linear_inputs, layout.stacked
    leaves = flatten(params)
    shapes = {probe: leaves[f"{probe}.weight"].shape for probe in paths.values()}
    layers = {probe: shapes[probe][:1] if f"{probe}.weight" in stacked else () for probe in shapes}

    @functools.partial(jax.jit, donate_argnums=0)
    def add(total: Probes, params: Params, fields: tuple[Array, ...], rows: Array) -> Probes:
        def run(probes: Probes) -> Float[Array, ""]:
            outputs = family.forward(
                config, _with(params, probes, rows, layers), *fields, probed=True
            )
            return jnp.sum(jax.tree.leaves(outputs)[0])

        grams = jax.grad(run)(jax.tree.map(jnp.zeros_like, total))
        return jax.tree.map(jnp.add, total, grams)

    total = {
        probe: zeros_beside(leaves[f"{probe}.weight"], (*layers, inputs, inputs), jnp.float32)
        for probe, (*layers, _, inputs) in shapes.items()
    }
    read = 0.0
    for batch in items.batches():
        fields, rows = ability.rows(batch.fields, batch.real)
        total = add(total, params, fields, rows)
        read += float(rows.sum())
    return {probe: fetch(gram) / np.float32(read) for probe, gram in total.items()}


def by_leaf(family: Family, config: Any, grams: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The matrix of each linear layer's weight; those with the same input share it."""
    return {path: grams[probe] for path, probe in family.layout(config).linear_inputs.items()}


def _with(
    params: Params, probes: Probes, rows: Array, layers: Mapping[str, tuple[int, ...]]
) -> Params:
    leaves = flatten(params)
    for path, probe in probes.items():
        leaves[f"{path}.probe"] = probe
        leaves[f"{path}.rows"] = jnp.broadcast_to(rows, (*layers[path], *rows.shape))
    return unflatten(leaves)
