"""The layout of a model, told from the names and the shapes of its tensors.

The first number between two dots of a name counts layers, and what stands before it names the
stack: ``h.3.…``, ``encoder.layer.3.…``, ``down_blocks.1.…``. A stack has every number from 0 to its
depth. A leaf that each layer has, in one shape, is stacked. Where layers differ, a leaf stands
alone, in its layer.
"""

import functools
import re

from evojax_merge.models.layout import LAYER, Layout, Leaf, Place, Stack
from evojax_merge.models.named.config import NamedConfig, Shapes
from evojax_merge.models.named.groups import group_of

_BUFFERS = re.compile(
    r"(.*\.)?(inv_freq|masked_bias|position_ids|relative_position_index|running_mean|running_var|"
    r"num_batches_tracked|cos_cached|sin_cached)"
)
"""The names of tensors that are computed or counted, and not learnt."""

_MASK = re.compile(r"(.*\.)?(attn|attention)\.bias")
"""The name of a mask in earlier checkpoints, and of a bias elsewhere. A mask has four axes."""

_NUMBER = re.compile(r"\.(0|[1-9]\d*)\.")

_BEFORE = ("embedding", "time", "conv")
"""The groups of tensors in no layer that stand before the layers."""


def is_buffer(name: str, shape: tuple[int, ...]) -> bool:
    """Tell whether a tensor is computed or counted, and not learnt."""
    return bool(_BUFFERS.fullmatch(name)) or (len(shape) == 4 and bool(_MASK.fullmatch(name)))


@functools.lru_cache(maxsize=16)
def layout(config: NamedConfig) -> Layout:
    """Make the layout of a model."""
    copies = config.aliases
    shapes = {name: shape for name, shape in config.shapes.items() if name not in copies}
    stacks = _stacks(shapes)
    alike = _alike(shapes, stacks)
    leaves: dict[str, Leaf] = {}
    for name, shape in shapes.items():
        table = name in config.tables
        stack, layer, template = _place(name, stacks)
        if layer is None:
            group = group_of(name, False)
            where: Place = "first" if group in _BEFORE else "last"
            leaves[name] = Leaf(shape, name, group, _nearest(name, stacks), where, table)
            continue
        assert stack is not None
        group = group_of(template.replace(LAYER, "0"), True)
        if template in alike:
            path = template.replace(LAYER, "*")
            shape = (stacks[stack].depth, *shape)
            leaves.setdefault(path, Leaf(shape, template, group, stack, "each"))
        else:
            leaves[name] = Leaf(shape, template, group, stack, layer, table)
    return Layout(leaves, stacks, copies)


def _place(name: str, stacks: dict[str, Stack]) -> tuple[str | None, int | None, str]:
    """Return the stack and the layer that a tensor is in, and its name in any layer."""
    found = _NUMBER.search(name)
    if found is None or (stack := name[: found.start()]) not in stacks:
        return None, None, name
    return stack, int(found[1]), f"{stack}.{LAYER}.{name[found.end() :]}"


def _stacks(shapes: Shapes) -> dict[str, Stack]:
    numbers: dict[str, set[int]] = {}
    for name in shapes:
        if found := _NUMBER.search(name):
            numbers.setdefault(name[: found.start()], set()).add(int(found[1]))
    return {
        stack: Stack(stack, len(own))
        for stack, own in numbers.items()
        if max(own) == len(own) - 1  # none is left out
    }


def _alike(shapes: Shapes, stacks: dict[str, Stack]) -> set[str]:
    """Return the names of the tensors that each layer of a stack has, in one shape."""
    found: dict[str, list[tuple[int, ...]]] = {}
    depths = {}
    for name, shape in shapes.items():
        stack, layer, template = _place(name, stacks)
        if stack is not None and layer is not None:
            found.setdefault(template, []).append(shape)
            depths[template] = stacks[stack].depth
    return {t for t, own in found.items() if len(own) == depths[t] and len(set(own)) == 1}


def _nearest(name: str, stacks: dict[str, Stack]) -> str | None:
    """Return the stack that a tensor in no layer goes with: that whose name begins most alike.

    Where several do, it is the deepest of them.
    """
    parts = name.split(".")

    def common(stack: str) -> int:
        pairs = zip(parts, stack.split("."), strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(parts), 99))

    return max(stacks, key=lambda one: (common(one), stacks[one].depth), default=None)
