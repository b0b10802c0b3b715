"""What a merge operator is, and the few steps that all of them share."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Shaped, UInt32

from evojax_merge.operators.evidence import EvidenceRequest
from evojax_merge.params.low_rank import Adapted
from evojax_merge.params.on_disk import OnDisk
from evojax_merge.params.types import Array, Float

Leaf = Float[Array, "..."] | Float[np.ndarray, "..."] | OnDisk
"""A leaf of a model: an array, or a tensor that stays in its file."""

Source = Leaf | Adapted
"""A leaf of a source, which may be an adapter's, together with that of its base."""

LeafKey = UInt32[Array, " *layers"]
"""The random address of a leaf: a scalar, or one key per layer of a stacked leaf."""
Coefficients = dict[str, Float[Array, "..."]]
"""The values of coefficients by name: ``[sources]`` or ``[sources, layers]``. A coefficient that is
not per source has no first axis."""

TINY = 1e-8
"""A sum of weights below this is no divisor."""

GOLDEN = 0x9E3779B9
"""2**32 over the golden ratio. It is odd, so that it has an inverse among 32-bit integers."""

PROBABILITY_BITS = 24
"""A probability is a whole number of 2**-24, which float32 holds exactly."""


class Coefficient(NamedTuple):
    """A number that a space evolves or fixes, per source x group x layer block.

    ``lower`` and ``upper`` are the usual bounds of a search, ``default`` is where it starts: the
    middle of them, as in Akiba et al. (2403.13187). Where the coefficient stands for a choice,
    ``labels`` name the whole numbers from 0. ``domain`` is what the operator can compute at all; it
    is an error to leave it.
    """

    name: str
    lower: float
    upper: float
    default: float
    per_source: bool = True
    description: str = ""
    labels: tuple[str, ...] = ()
    domain: tuple[float, float] = (float("-inf"), float("inf"))


class Operator(NamedTuple):
    """A merge method as pure functions of one leaf.

    ``init(base_leaf | None, source_leaves, layered)`` is run once before a search, outside of any
    program, and returns the statistics that ``merge`` looks up.
    ``merge(base_leaf | None, source_leaves, coefficients, statistics, key)`` returns the merged
    leaf in float32 by one elementwise expression; a stacked leaf is merged layer by layer.
    ``sources`` is the least and the greatest number of sources.
    ``conflict(values of one source by name)`` says what is wrong with coefficients that are each in
    their domain but do not go together, or None. Where a user gives such values, they are refused;
    where a search draws them, ``reconcile(coefficients)`` gives the nearest that go together.
    ``evidence`` asks how the sources treat some data, where the operator must know it; ``init``
    then takes a fourth argument, the evidence of each source for the leaf.
    ``statistics_name`` names what ``init`` computes, with every setting that changes it, where that
    takes long enough to be kept on disk. With None it is never kept, so that an operator of one's
    own whose code changes is not given the statistics of before. The structure of what a named
    ``init`` returns does not depend on the size of a leaf.
    ``init_fixed(tensors, coefficients)`` is ``init`` where all coefficients are known before. It
    need not keep to the grid of a table, and reads one flat tensor of the base and of each source
    a piece at a time (`evojax_merge.operators.statistics.Tensors`), as often as it takes. It
    returns a function of the place and the length of a piece, which gives what ``merge`` looks up
    for it. With None ``init`` serves for that too.
    """

    name: str
    coefficients: tuple[Coefficient, ...]
    init: Callable[..., Any]
    merge: Callable[[Any, tuple[Any, ...], Coefficients, Any, Any], Array]
    needs_base: bool
    sources: tuple[int, int | None]
    random: bool = False
    conflict: Callable[[Mapping[str, float]], str | None] = lambda values: None
    reconcile: Callable[[Coefficients], Coefficients] = lambda coefficients: coefficients
    evidence: EvidenceRequest | None = None
    statistics_name: str | None = None
    init_fixed: Callable[[Any, Mapping[str, Any]], Callable[[int, int], Any]] | None = None


WEIGHT = Coefficient(
    "weight", 0.0, 1.0, 0.5, description="strength of a source; weights need not sum to one"
)
DENSITY = Coefficient(
    "density",
    0.0,
    1.0,
    0.5,
    description="fraction of a task vector's elements that is kept",
    domain=(0.0, 1.0),
)


def no_statistics(base: Leaf | None, sources: tuple[Source, ...], layered: bool) -> tuple[()]:
    """``init`` of an operator that needs to know nothing about whole tensors."""
    return ()


def float32(leaf: Any) -> Float[Array, "..."]:
    """The leaf in the precision of every merge; an adapter is added to its base."""
    if isinstance(leaf, Adapted):
        return leaf.whole()
    return jnp.asarray(leaf).astype(jnp.float32)


def task_vectors(base: Any, sources: Sequence[Any]) -> list[Float[Array, "..."]]:
    """Source minus base in float32 (Ilharco et al., 2212.04089, section 2)."""
    origin = float32(base)
    return [
        source.task_vector() if isinstance(source, Adapted) else float32(source) - origin
        for source in sources
    ]


def spread(
    values: Shaped[Array, " *layers"] | Shaped[np.ndarray, " *layers"] | np.generic, ndim: int
) -> Any:
    """Shape a scalar, or one value per layer, to broadcast against a leaf of ``ndim`` axes."""
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))


def divisor(total: Float[Array, "..."]) -> Float[Array, "..."]:
    """``total`` where it can be divided by, 1 elsewhere."""
    return jnp.where(jnp.abs(total) < TINY, 1.0, total)


def weighted_sum(
    leaves: Sequence[Float[Array, "..."]], weights: Float[Array, " sources *layers"]
) -> Float[Array, "..."]:
    """The sum over sources of weight x leaf, unrolled into one elementwise expression."""
    terms = [spread(weight, leaf.ndim) * leaf for weight, leaf in zip(weights, leaves, strict=True)]
    return sum(terms[1:], terms[0])


def element_index(shape: tuple[int, ...], layered: bool) -> UInt32[Array, "..."]:
    """The row-major position of every element in its tensor, or in its layer."""
    index = jnp.zeros(shape, jnp.uint32)
    for axis in range(int(layered), len(shape)):
        stride = np.uint32(prod(shape[axis + 1 :]))
        index = index + lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return index
