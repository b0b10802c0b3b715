"""Arrays that are known by shape and dtype alone, as of a model that is planned and not loaded."""

from collections.abc import Callable
from typing import Any

import jax


def is_abstract(*trees: Any) -> bool:
    """Whether some leaves of trees are shapes alone."""
    return any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(trees))


def computed(function: Callable[..., Any], *trees: Any) -> Any:
    """Compute a function of trees of arrays; of shapes alone, the shapes of what it gives.

    Args:
        function: A function that JAX can trace.
        *trees: Its arguments.
    """
    return jax.eval_shape(function, *trees) if is_abstract(*trees) else function(*trees)


def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an array."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
