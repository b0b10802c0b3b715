"""How one model is split over the ``model`` axis of a mesh, as its layout says.

Weights of linear layers, convolutions and tables are cut along one of their axes: the one that
their layout names, or where that cannot be divided one of the last two. Norms and biases are whole
on every device. Only the axis is said here. How the products of parts become that of the
whole is the compiler's affair (GSPMD; Xu et al., 2021, arXiv 2105.04663).
"""

import math
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.tree_util import DictKey, KeyPath

from evojax_merge.models.layout import Layout

POP, MODEL = "pop", "model"
"""The axes of a mesh: that which candidates are spread over, and that which one is split over."""


def check_split(layout: Layout, parts: int) -> None:
    """Check that a model can be split into parts, and without a cut through a head of attention.

    Args:
        layout: The layout of the model.
        parts: The number of parts.

    Raises:
        ValueError: A cut would go through heads, or nothing can be cut. The message names the most
            parts below those asked for that do not.
    """
    for stack in layout.stacks.values():
        if stack.heads is None or stack.heads % parts == 0:
            continue
        most = max(part for part in range(1, parts) if stack.heads % part == 0)
        raise ValueError(
            f"mesh.model is {parts}, and the {stack.heads} heads of keys in {stack.name} cannot be "
            f"divided by it; set mesh.model={most}, or another divisor of {stack.heads}"
        )
    if parts > 1 and not _cuts(layout, parts):
        raise ValueError(
            f"mesh.model is {parts}, and no axis of a weight can be divided by it, so that every "
            "device would hold the whole model; set mesh.model=1, or a divisor of its widths"
        )


def shardings(tree: Any, layout: Layout, mesh: Mesh | AbstractMesh, axes: Any = None) -> Any:
    """Say where the parts of every array of a tree are.

    An array is known by the path of its leaf, which its own path ends with, whatever stands around
    it: the trees of several models, layers in buffers of their own, or what an operator knows of
    each element of a leaf. Whatever else there is, is whole on every device.

    Args:
        tree: Arrays, or their shapes.
        layout: The layout of the model.
        mesh: The devices.
        axes: The axis of the population in each array, or None where it has none; by default, no
            array has one.
    """
    parts = mesh.shape[MODEL]
    cuts = {} if parts == 1 else _cuts(layout, parts)

    def of(path: KeyPath, leaf: Any, axis: int | None = None) -> NamedSharding:
        shape = list(leaf.shape)
        if axis is not None:
            del shape[axis]
        spec = _spec(_named(path), tuple(shape), cuts)
        if axis is not None:
            spec.insert(axis, POP)
        while spec and spec[-1] is None:
            spec.pop()
        return NamedSharding(mesh, P(*spec))

    if axes is None:
        return jax.tree_util.tree_map_with_path(of, tree)
    return jax.tree_util.tree_map_with_path(
        lambda path, axis, leaf: of(path, leaf, axis), axes, tree, is_leaf=lambda axis: axis is None
    )


def placed(tree: Any, where: Any) -> Any:
    """The shapes of the arrays of a tree, with the place of each."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        where,
    )


def bytes_per_device(tree: Any) -> int:
    """Count the bytes that the arrays of a tree take on each device that they are spread over."""
    return sum(math.prod(_shard(leaf)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _shard(leaf: Any) -> tuple[int, ...]:
    sharding = getattr(leaf, "sharding", None)
    return leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)


def _cuts(layout: Layout, parts: int) -> dict[str, tuple[tuple[int, ...], int]]:
    """Map each leaf that is cut to the shape of its tensor and the axis, counted from the end.

    It is found by its path, and by its path within its stack.
    """
    found = {}
    for path, leaf in layout.leaves.items():
        tensor = leaf.shape[1:] if leaf.stacked else leaf.shape
        if len(tensor) < 2:
            continue
        wanted = leaf.split if leaf.split is not None else -len(tensor)
        others = (axis for axis in (-1, -2) if axis != wanted)
        fitting = [axis for axis in (wanted, *others) if tensor[axis] % parts == 0]
        if not fitting:
            continue
        found[path] = tensor, fitting[0]
        if leaf.stacked:
            found[path.removeprefix(f"{leaf.stack}.")] = tensor, fitting[0]
    return found


def _named(path: KeyPath) -> list[str]:
    return [str(key.key) for key in path if isinstance(key, DictKey)]


def _spec(
    names: list[str], shape: tuple[int, ...], cuts: dict[str, tuple[tuple[int, ...], int]]
) -> list[str | None]:
    spec: list[str | None] = [None] * len(shape)
    for first in range(len(names)):
        tensor, axis = cuts.get(".".join(names[first:]), ((), 0))
        if tensor and shape[-len(tensor) :] == tensor:
            spec[axis] = MODEL
            break
    return spec
