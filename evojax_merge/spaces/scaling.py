"""Ways in which a data-flow genotype scales the hidden state between one layer and the next.

Akiba et al., arXiv 2403.13187, section 3.2: W(i, j) for each pair of layers, or W(i, j, t) = π(i,
j, t), "a neural network parameterised by far fewer numbers". Scales start at 1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.params.types import Array, Float

REACH = 3.0
"""The weights of a network lie within this on either side of 0."""


class Scaling(NamedTuple):
    """A number of genes, and what they make of a path.

    ``scales(genes, from layer, to layer, slot)`` gives the scale on entering each hop; that of the
    first hop is not used. ``start``, ``lower`` and ``upper`` are those of the genes.
    """

    name: str
    start: Float[np.ndarray, " genes"]
    lower: Float[np.ndarray, " genes"]
    upper: Float[np.ndarray, " genes"]
    scales: Callable[[Array, Array, Array, Array], Array]


def _at_one(name: str, genes: int, low: float, high: float, scales: Any) -> Scaling:
    return Scaling(name, np.ones(genes), np.full(genes, low), np.full(genes, high), scales)


def matrix(layers: int, slots: int, low: float, high: float, hidden: int) -> Scaling:
    """A number for each ordered pair of layers, which makes layers² genes."""
    del slots, hidden

    def scales(genes: Array, before: Array, layer: Array, slot: Array) -> Array:
        return genes[before * layers + layer]

    return _at_one("matrix", layers * layers, low, high, scales)


def hop(layers: int, slots: int, low: float, high: float, hidden: int) -> Scaling:
    """A number for each slot, and one for a fixed last layer."""
    del layers, hidden

    def scales(genes: Array, before: Array, layer: Array, slot: Array) -> Array:
        return genes[slot]

    return _at_one("hop", slots + 1, low, high, scales)


def network(layers: int, slots: int, low: float, high: float, hidden: int) -> Scaling:
    """1 plus a network with one hidden layer of ``hidden`` tanh units, clipped.

    It has 5 hidden + 1 genes.
    """
    genes = 5 * hidden + 1

    def scales(genes: Array, before: Array, layer: Array, slot: Array) -> Array:
        inputs = jnp.stack(
            [before / max(layers - 1, 1), layer / max(layers - 1, 1), slot / slots], axis=-1
        )
        weights = genes[: 3 * hidden].reshape(3, hidden)
        biases, output = genes[3 * hidden : 4 * hidden], genes[4 * hidden : 5 * hidden]
        # Summed term by term: a matrix product may round otherwise in another company.
        within = sum(inputs[:, i, None] * weights[i] for i in range(3)) + biases
        raised = (jnp.tanh(within) * output).sum(axis=-1) + genes[-1]
        return jnp.clip(1.0 + raised, low, high)

    start = np.zeros(genes)
    return Scaling("network", start, start - REACH, start + REACH, scales)


def off(layers: int, slots: int, low: float, high: float, hidden: int) -> Scaling:
    """No genes, with every scale 1."""
    del layers, slots, low, high, hidden
    nothing = np.zeros(0)

    def scales(genes: Array, before: Array, layer: Array, slot: Array) -> Array:
        return jnp.ones(layer.shape, jnp.float32)

    return Scaling("off", nothing, nothing, nothing, scales)


SCALINGS: dict[str, Callable[..., Scaling]] = {
    "matrix": matrix,
    "network": network,
    "hop": hop,
    "off": off,
}
"""The values that ``scaling`` of `DataflowSpace` may have."""
