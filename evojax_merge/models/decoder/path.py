"""A path is the layers of a pool that a token passes one after another, as data.

Paths are those of Akiba et al., Evolutionary optimization of model merging recipes, arXiv
2403.13187, section 3.2. A path is part of a parameter tree, under ``path``, beside a pool of layers
of any length under ``layers``. One compiled program serves all paths of up to as many hops as its
arrays hold.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.params.types import Array, Float, Int

PATH = "path"
"""The place of a path in a parameter tree."""


class Path(NamedTuple):
    """A path is hops through a pool of layers.

    Hop t reads the residual stream as ``residual[t] · r + branch[t] · m``, where m is what the MLP
    of the hop before added to the stream and r the rest (at first m is the embedding and r = 0).
    With both the same the whole stream is scaled. With ``residual`` 1 only the branch is.

    Attributes:
        layer: The index of each hop's layer in the pool.
        residual: The scale of the rest of the stream.
        branch: The scale of the last branch.
        length: The number of hops that count. What stands after them does not matter.
        steps: The number of hops that are carried out, the greatest length of all paths that run
            together.
    """

    layer: Int[Array, " hops"]
    residual: Float[Array, " hops"]
    branch: Float[Array, " hops"]
    length: Int[Array, ""]
    steps: Int[Array, ""]


PATH_AXES = Path(layer=0, residual=0, branch=0, length=0, steps=None)  # type: ignore[arg-type]
"""The axis of a population in each array of its paths, for ``in_axes``."""


def make_path(
    layers: Int[np.ndarray, " length"],
    scales: Float[np.ndarray, " length"] | None = None,
    *,
    branch_only: bool = False,
    hops: int | None = None,
) -> Path:
    """Make a path from its hops.

    Args:
        layers: The indices of the layers in the pool.
        scales: The scale of each hop, by default 1.
        branch_only: Whether only the branch is scaled, and the rest of the stream is left as it is.
        hops: The length of the arrays, at least that of ``layers``.
    """
    length = len(layers)
    room = length if hops is None else hops
    if room < length:
        raise ValueError(f"a path of {length} hops does not fit into {room}")
    layer = np.zeros(room, np.int32)
    layer[:length] = layers
    branch = np.ones(room, np.float32)
    branch[:length] = 1.0 if scales is None else scales
    residual = np.ones_like(branch) if branch_only else branch
    return Path(
        jnp.asarray(layer),
        jnp.asarray(residual),
        jnp.asarray(branch),
        length=jnp.int32(length),
        steps=jnp.int32(length),
    )
