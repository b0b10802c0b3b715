"""The parts of a model that a space tells apart: groups of parameters, in blocks of layers."""

from collections.abc import Mapping, Sequence

from evojax_merge.documents.arguments import check_whole
from evojax_merge.documents.nearest import nearest
from evojax_merge.models import Layout, Leaf
from evojax_merge.models.segments import Segment, names_leaf

REST = "*"
"""The entry of ``groups`` for every parameter group that no other entry names."""


def segments_of(
    layout: Layout, groups: Mapping[str, Sequence[str] | str], layers_per_block: int | None
) -> tuple[Segment, ...]:
    """Divide a model into the parts within which coefficients are constant.

    Args:
        layout: The layout of the models.
        groups: Parameter groups, or parts of leaves' paths, by a name for them.
        layers_per_block: How many layers share their coefficients; None for all of them.

    Raises:
        ValueError: A name is unknown, or groups are empty, overlap, or leave parameters out.
    """
    if layers_per_block is not None:
        check_whole("space.layers_per_block", layers_per_block, 1)
    for name, kinds in groups.items():
        parts = [kinds] if isinstance(kinds, str) else kinds
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"space.groups.{name} is {kinds!r}; give a list of names, or one name")
    named = {
        name: (kinds,) if isinstance(kinds, str) else tuple(kinds) for name, kinds in groups.items()
    }
    listed = [kind for kinds in named.values() for kind in kinds if kind != REST]
    for part in listed:
        if part not in layout.kinds and not any(part in path for path in layout.groups):
            hint = nearest(part, [*layout.kinds, *_names(layout)])
            raise ValueError(
                f"space.groups: {part!r} is no parameter group and part of no leaf's path{hint}; "
                f"groups are {', '.join(layout.kinds)}; where you chose the space by its name, "
                "choose the one for this architecture"
            )
    if repeated := sorted({kind for kind in listed if listed.count(kind) > 1}):
        raise ValueError(f"space.groups: {', '.join(repeated)} is in two groups")
    rest = [kind for kind in layout.kinds if kind not in listed]
    if rest and not any(REST in kinds for kinds in named.values()):
        raise ValueError(
            f"space.groups: {', '.join(rest)} is in no group; name it, or give a group '{REST}'"
        )
    segments = []
    for name, kinds in named.items():
        own = tuple(kind for kind in kinds if kind != REST)
        wanted = {*own, *rest} if REST in kinds else {*own}
        parts = [part for part in own if part not in layout.kinds]
        members: tuple[str, ...] = (*(k for k in layout.kinds if k in wanted), *parts)
        if not members:
            raise ValueError(
                f"space.groups.{name}: the other groups leave it no parameters; give all groups "
                "anew, space.groups={...} (an experiment and a space may each bring some)"
            )
        elsewhere = [part for part in listed if part not in layout.kinds and part not in own]
        stacks = stacks_of(members, layout, elsewhere)
        if layers_per_block is None or not stacks:
            segments.append(Segment(name, members, 0, layout.depth()))
            continue
        if any(leaf.stack is None for leaf in leaves_of(members, layout, elsewhere)):
            segments.append(Segment(name, members, 0, 0))
        for stack in stacks:
            depth = layout.depth(stack)
            own_stack = stack if len(layout.stacks) > 1 or layout.outside else None
            segments += [
                Segment(name, members, first, min(first + layers_per_block, depth), own_stack)
                for first in range(0, depth, layers_per_block)
            ]
    return tuple(segments)


def stacks_of(members: Sequence[str], layout: Layout, elsewhere: Sequence[str] = ()) -> list[str]:
    """The stacks that are divided into blocks for these groups and parts of paths.

    Where none of their leaves is in a layer (embedding, head), no stack is divided. Where some are
    in the layers of a stack, every stack that has a leaf of these groups is divided, whether that
    leaf is in a layer or not. Leaves of no stack are then a part by themselves.

    Args:
        members: The groups and parts of paths.
        layout: The layout of the models.
        elsewhere: Parts of paths whose leaves belong to others, whatever their groups are.
    """
    own = leaves_of(members, layout, elsewhere)
    if not any(leaf.layered for leaf in own):
        return []
    return [name for name in layout.stacks if any(leaf.stack == name for leaf in own)]


def leaves_of(members: Sequence[str], layout: Layout, elsewhere: Sequence[str] = ()) -> list[Leaf]:
    """The leaves of these groups and parts of paths, but for those that others name by a part."""

    def named(parts: Sequence[str], path: str) -> bool:
        return any(names_leaf(part, path, layout) for part in parts)

    return [
        leaf
        for path, leaf in layout.leaves.items()
        if named(members, path) or (leaf.group in members and not named(elsewhere, path))
    ]


def _names(layout: Layout) -> list[str]:
    return sorted({part for path in layout.groups for part in path.split(".")})
