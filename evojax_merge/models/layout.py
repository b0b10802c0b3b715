"""The layout of a model: the only truth about its leaves.

Whoever asks for the shape of a leaf, its tensor on disk, its stack of layers, its group, or the
tokenizer that its rows follow asks the layout. A model may have several stacks of layers, as one of
two towers has, or none, and leaves beside them that belong to no stack.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Params

LAYER = "{layer}"
"""The text that stands for the number of a layer in the name of a tensor that is in one."""

COMMON_GROUPS = ("attention", "mlp", "norm", "embedding", "head")
"""The groups of a decoder. A recipe may name them for models that lack one, as a tied head."""

Place = Literal["each", "first", "last"] | int


class Stack(NamedTuple):
    """A stack is layers of one kind, one after another.

    Attributes:
        name: The dotted path under which their leaves stand, e.g. ``layers`` or ``vision.layers``.
        depth: How many layers there are.
        unrolled: Whether the programs that run the model take each layer in buffers of its own (see
            `Layout.unroll`).
        heads: How many heads of keys each layer has, where a model is only to be split between
            whole heads (see `evojax_merge.models.split`).
    """

    name: str
    depth: int
    unrolled: bool = False
    heads: int | None = None


class Leaf(NamedTuple):
    """A leaf is one array of a parameter tree.

    Attributes:
        shape: The shape of the array; where it is stacked, the first axis counts layers.
        tensor: The name of the array on disk, with ``{layer}`` where the leaf is in a layer:
            ``model.layers.{layer}.mlp.up_proj.weight``.
        group: The part of the network that the leaf belongs to, a word of an open vocabulary.
        stack: The stack of layers that the leaf belongs to, or None where it belongs to none, as
            the convolutions between a UNet's transformers do.
        place: The place of the leaf in the stack. With ``each`` every layer has it, and it is
            stacked. A number is that of the one layer that has it, where layers are not alike. With
            ``first`` or ``last`` no layer has it, and it counts as part of that one.
        token_table: Whether the leaf has a row for each token of the tokenizer.
        reads: The path of the linear layer that stands for all that read the same input, where the
            leaf is a linear layer's weight (see `evojax_merge.models.probe`).
        split: The axis along which a model that is split over devices is cut in this leaf, counted
            from the end; by default, the first axis of its tensor (see
            `evojax_merge.models.split`).
    """

    shape: tuple[int, ...]
    tensor: str
    group: str
    stack: str | None = None
    place: Place = "last"
    token_table: bool = False
    reads: str | None = None
    split: int | None = None

    @property
    def stacked(self) -> bool:
        """Whether the first axis of the leaf counts layers."""
        return self.stack is not None and self.place == "each"

    @property
    def layered(self) -> bool:
        """Whether the leaf is in each layer, or in one."""
        return self.stacked or isinstance(self.place, int)

    def tensor_of(self, layer: int | None) -> str:
        """Return the name of the tensor of one layer, or of a leaf that is in no layer."""
        return self.tensor if layer is None else self.tensor.replace(LAYER, str(layer))


class Slot(NamedTuple):
    """A slot is the place of one tensor of a checkpoint: a leaf, or one layer of a stacked leaf."""

    path: str
    layer: int | None
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout holds every leaf of a model by its path, and the stacks that they belong to.

    Attributes:
        leaves: The leaves by dotted path, in the order of the tree.
        stacks: The stacks by name, in the order of the model.
        aliases: The names of tensors that a checkpoint may store as copies -> the names that they
            copy.

    Raises:
        ValueError: A leaf names a stack that is not there, or its shape or its name disagree with
            the stack.
    """

    leaves: Mapping[str, Leaf]
    stacks: Mapping[str, Stack] = dataclasses.field(default_factory=dict)
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for path, leaf in self.leaves.items():
            if leaf.stack is not None and leaf.stack not in self.stacks:
                raise ValueError(f"{path}: stack {leaf.stack!r} is none of {list(self.stacks)}")
            if leaf.layered != (LAYER in leaf.tensor):
                raise ValueError(f"{path}: {leaf.tensor} does not say whether it is in a layer")
            if leaf.stack is None:
                if leaf.layered:
                    raise ValueError(f"{path}: in layer {leaf.place} of no stack")
                continue
            depth = self.stacks[leaf.stack].depth
            if leaf.stacked and leaf.shape[:1] != (depth,):
                raise ValueError(f"{path}: shape {leaf.shape} of a stack of {depth} layers")
            if isinstance(leaf.place, int) and not 0 <= leaf.place < depth:
                raise ValueError(f"{path}: in layer {leaf.place} of a stack of {depth} layers")

    @functools.cached_property
    def groups(self) -> dict[str, str]:
        """The group of each leaf, by path."""
        return {path: leaf.group for path, leaf in self.leaves.items()}

    @functools.cached_property
    def kinds(self) -> tuple[str, ...]:
        """The groups that occur, in the order of the tree."""
        return tuple(dict.fromkeys(self.groups.values()))

    @functools.cached_property
    def stacked(self) -> frozenset[str]:
        """The paths of the leaves whose first axis counts layers."""
        return frozenset(path for path, leaf in self.leaves.items() if leaf.stacked)

    @functools.cached_property
    def outside(self) -> tuple[str, ...]:
        """The paths of the leaves that belong to no stack."""
        return tuple(path for path, leaf in self.leaves.items() if leaf.stack is None)

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each leaf, by path."""
        return {path: leaf.shape for path, leaf in self.leaves.items()}

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """The name of each leaf's tensor, by path, with ``{layer}`` where it is in a layer."""
        return {path: leaf.tensor for path, leaf in self.leaves.items()}

    @functools.cached_property
    def token_tables(self) -> tuple[str, ...]:
        """The paths of the leaves with a row for each token."""
        return tuple(path for path, leaf in self.leaves.items() if leaf.token_table)

    @functools.cached_property
    def linear_inputs(self) -> dict[str, str]:
        """The path of each linear layer's weight -> the layer that stands for its input."""
        return {path: leaf.reads for path, leaf in self.leaves.items() if leaf.reads is not None}

    @functools.cached_property
    def slots(self) -> dict[str, Slot]:
        """The slot of every tensor that a checkpoint must hold, by name, in layer order."""
        found = {}
        for path, leaf in self.leaves.items():
            if not leaf.stacked:
                layer = leaf.place if isinstance(leaf.place, int) else None
                found[leaf.tensor_of(layer)] = Slot(path, None, leaf.shape)
                continue
            for layer in range(leaf.shape[0]):
                found[leaf.tensor_of(layer)] = Slot(path, layer, leaf.shape[1:])
        return found

    def misfits(self, leaves: Mapping[str, Any]) -> Iterator[str]:
        """Find what keeps arrays, by path, from being the leaves of the model, in words."""
        for path in self.leaves:
            if path not in leaves:
                yield f"missing: {path}"
        for path, leaf in leaves.items():
            if path not in self.leaves:
                yield f"unexpected: {path}"
            elif leaf.shape != (shape := self.leaves[path].shape):
                yield f"{path} is {leaf.shape}, the model has {shape}"

    def depth(self, stack: str | None = None) -> int:
        """Count the layers of a stack, or of the deepest one. A model without stacks has 0."""
        if stack is not None:
            return self.stacks[stack].depth
        return max((one.depth for one in self.stacks.values()), default=0)

    def layers_of(self, path: str) -> range:
        """Return the layers that a leaf belongs to: all of its stack, one, or its first or last.

        A leaf of no stack has one, which is that of the whole model.
        """
        leaf = self.leaves[path]
        if leaf.stack is None:
            return range(1)
        depth = self.depth(leaf.stack)
        if leaf.stacked:
            return range(depth)
        if isinstance(leaf.place, int):
            return range(leaf.place, leaf.place + 1)
        return range(1) if leaf.place == "first" or not depth else range(depth - 1, depth)

    def in_layer(self, stack: str, layer: int) -> dict[str, str]:
        """Return the leaves that are in a layer of a stack: name with ``{layer}`` -> path."""
        return {
            leaf.tensor: path
            for path, leaf in self.leaves.items()
            if leaf.stack == stack and (leaf.stacked or leaf.place == layer)
            if leaf.layered
        }

    def population_axes(self) -> dict[str, object]:
        """Return the axis of the population in each leaf, for ``in_axes`` or ``out_axes``.

        A layer scan consumes the leading axis, so the population comes second in stacked leaves.
        In the first place it would have every weight copied once to move it.
        """
        return unflatten({path: int(leaf.stacked) for path, leaf in self.leaves.items()})

    def unroll(self, params: Params) -> Params:
        """Return a tree in which the layers of some stacks stand in buffers of their own.

        These are the stacks that are `Stack.unrolled`. In the place of the stacked leaves of such a
        stack stands a tuple of trees, one for each layer. A program that reads a layer many times,
        as decoding does at every token, reads such buffers where they stand. Out of a stacked leaf
        a compiler copies the layer first, each time.
        """
        return self._with_layers(params, lambda leaf, layer: leaf[layer])

    def roll(self, params: Params) -> Params:
        """Return the tree on the host that `unroll` was given, whose layers are stacked again."""
        for stack in self.stacks.values():
            if stack.unrolled:
                params = _replaced(params, stack.name.split("."), _stacked)
        return params

    def unrolled_axes(self) -> dict[str, object]:
        """Return the axis of the population in each leaf of an unrolled tree."""
        return self._with_layers(self.population_axes(), lambda axis, _: axis - 1)

    def _with_layers(self, tree: Params, layer_of: Callable[[Any, int], Any]) -> Params:
        for stack in self.stacks.values():
            if stack.unrolled:
                layers = functools.partial(_layers, stack.depth, layer_of)
                tree = _replaced(tree, stack.name.split("."), layers)
        return tree


def _layers(depth: int, layer_of: Callable[[Any, int], Any], leaves: Params) -> tuple[Params, ...]:
    """Return a tree for each layer, of what ``layer_of`` gives for each leaf and layer."""
    return tuple(
        jax.tree.map(functools.partial(lambda layer, leaf: layer_of(leaf, layer), layer), leaves)
        for layer in range(depth)
    )


def _stacked(layers: Any) -> Params:
    """Return one tree with a leading axis of layers, which what is no tuple has already."""
    if not isinstance(layers, tuple):
        return layers
    return jax.tree.map(lambda *leaves: np.stack(leaves), *layers)


def _replaced(tree: Params, path: Sequence[str], fn: Callable[[Any], Any]) -> Params:
    """Return a tree with ``fn`` of what stands at a path in its place."""
    name, *rest = path
    return {**tree, name: _replaced(tree[name], rest, fn) if rest else fn(tree[name])}
