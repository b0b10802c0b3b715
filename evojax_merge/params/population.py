"""Trees of several candidates' parameters, each leaf with a population axis.

The layout says where that axis stands in each leaf (`evojax_merge.models.Layout.population_axes`).
"""

from collections.abc import Callable
from typing import Any

import jax

from evojax_merge.params.loops import CANDIDATES
from evojax_merge.params.types import Params


def each_leaf(fn: Callable[..., Any], axes: Any, *trees: Any) -> Any:
    """Call ``fn(axis, *leaves)`` for every leaf; the axis is None where it has no population."""
    return jax.tree.map(fn, axes, *trees, is_leaf=lambda axis: axis is None)


def capacity(axes: Any, tree: Any) -> int:
    """How many candidates a tree has room for."""

    def size(axis: int | None, leaf: Any) -> int:
        return 0 if axis is None else leaf.shape[axis]

    return max(jax.tree.leaves(each_leaf(size, axes, tree)))


def only(axes: Any, tree: Any) -> Any:
    """The one candidate of a tree, without the axis."""
    return each_leaf(lambda axis, leaf: leaf if axis is None else leaf.squeeze(axis), axes, tree)


COMPILER_OPTIONS = {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"}
"""The options for `jax.jit` around `fill`. Without them what does not depend on the candidate (task
vectors, random bits) would be moved out of the loop, and take several models' worth of memory."""


def fill(
    buffer: Params, axes: Any, count: Any, make: Callable[[Any], Params], *, whole: bool = True
) -> Params:
    """Put ``make(index)`` into a tree of candidates for each ``index < count``, one by one.

    A merge is bound by memory, so that nothing is gained by merging candidates at once. The body of
    a loop is one program whatever the number of candidates, so that each has the same bits in any
    company; under `jax.vmap`, sines and multiply-adds may round otherwise. Where the buffer holds
    one candidate alone there is no loop, as the compiler would hold a second model for it.

    Args:
        buffer: The tree of all candidates, which is to be donated, with ``keep_unused=True``.
        axes: The place of the population's axis in each leaf.
        count: How many candidates there are. It must be traced, or the compiler would unroll short
            loops.
        make: A function of the index that makes the parameters of one candidate.
        whole: Whether a device holds whole candidates, and not parts of them.
    """

    if capacity(axes, buffer) == 1:
        put_alone = _in_place_of if whole else _reshaped
        return jax.tree.map(put_alone, buffer, make(0), axes)

    def put(index: Any, tree: Params) -> Params:
        return jax.tree.map(
            lambda old, leaf, axis: jax.lax.dynamic_update_index_in_dim(old, leaf, index, axis),
            tree,
            make(index),
            axes,
        )

    with jax.named_scope(CANDIDATES):
        return jax.lax.fori_loop(0, count, put, buffer)


def _reshaped(old: Any, leaf: Any, axis: int) -> Any:
    del axis
    return leaf.reshape(old.shape)


def _in_place_of(old: Any, leaf: Any, axis: int) -> Any:
    """Give the leaf the shape of the old one, which has the axis of a population of one.

    Left to itself the compiler lays stacked leaves out anew for that axis, in a copy. An axis that
    comes first needs no such care.
    """
    if axis == 0:
        return leaf.reshape(old.shape)
    flat = jax.lax.optimization_barrier(leaf.reshape(leaf.size))
    return flat.reshape(old.shape)
