"""Segments are the parts of a model within which a source's coefficients are constant."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.nearest import nearest
from evojax_merge.models import COMMON_GROUPS, Layout
from evojax_merge.params.types import Array, Int

LeafCoefficients = dict[str, dict[str, Any]]
"""Coefficients by leaf path and name: ``[sources]``, or ``[sources, layers]`` if stacked.
They are arrays of NumPy where what they are looked up in is."""


class Segment(NamedTuple):
    """A segment is the leaves of some groups in the layers ``first <= layer < stop`` of a stack.

    ``groups`` names parameter groups of the layout, or parts of leaves' paths such as ``q_proj``. A
    leaf that a part of its path names belongs there, and not with its group. Leaves that are in no
    layer count as part of the first layer of their stack (embeddings) or of the last one (final
    norm, head). Leaves of no stack belong to the segments that name no stack.

    Attributes:
        name: The name of the segment in tables and messages.
        groups: The names of groups, or parts of paths.
        first: The first layer, from 0.
        stop: The layer after the last one. A segment of the layers from 0 to 0 has only leaves of
            no stack.
        stack: The stack that the layers are of. None stands for every stack of the model, and for
            what is in none.
    """

    name: str
    groups: tuple[str, ...]
    first: int
    stop: int
    stack: str | None = None

    @property
    def label(self) -> str:
        """The name of the segment, with the layers that it covers where there are any."""
        if self.stop - self.first <= 0:
            return self.name
        of = "" if self.stack is None else f" of {self.stack}"
        return f"{self.name} {self.first}–{self.stop - 1}{of}"


def assign(
    segments: Sequence[Segment], layout: Layout
) -> dict[str, Int[np.ndarray, ""] | Int[np.ndarray, " layers"]]:
    """Return the index of every leaf's segment: a scalar, or one per layer of a stacked leaf.

    Raises:
        ValueError: A leaf is in no segment or in two, or a segment names what is not there.
    """
    _check_segments(segments, layout)
    assignment = {}
    problems = []
    for path, leaf in layout.leaves.items():
        named = any(names_leaf(part, path, layout) for s in segments for part in s.groups)
        owners = [
            [
                index
                for index, segment in enumerate(segments)
                if any(
                    names_leaf(part, path, layout) if named else part == leaf.group
                    for part in segment.groups
                )
                and _covers(segment, leaf.stack, layer)
            ]
            for layer in layout.layers_of(path)
        ]
        for layer, owner in zip(layout.layers_of(path), owners, strict=True):
            if len(owner) != 1:
                where = f"{path}, layer {layer}" if leaf.layered else path
                names = ", ".join(segments[index].label for index in owner) or "no segment"
                problems.append(f"{where}: in {names}")
        flat = np.array([owner[0] if owner else 0 for owner in owners], np.int32)
        assignment[path] = flat if leaf.stacked else flat.reshape(())
    if problems:
        raise ValueError("every leaf must be in one segment:\n  " + "\n  ".join(problems))
    return assignment


def _covers(segment: Segment, stack: str | None, layer: int) -> bool:
    """Tell whether a segment covers a layer of a stack, or what is in no stack."""
    if stack is None:
        return segment.stack is None
    return segment.stack in (None, stack) and segment.first <= layer < segment.stop


def _check_segments(segments: Sequence[Segment], layout: Layout) -> None:
    """Check that a model has what the segments name. A tied model may lack the group of a head."""
    groups = dict.fromkeys([*COMMON_GROUPS, *layout.kinds])
    for segment in segments:
        for part in segment.groups:
            if part in groups or any(part in path for path in layout.leaves):
                continue
            parts = {name for path in layout.leaves for name in path.split(".")}
            hint = nearest(part, [*groups, *sorted(parts)])
            raise ValueError(
                f"segment {segment.name}: {part!r} is no parameter group and part of no leaf's "
                f"path{hint}"
            )
        if twice := sorted({p for p in segment.groups if segment.groups.count(p) > 1}):
            raise ValueError(f"segment {segment.name}: names {', '.join(twice)} twice")
        if segment.stack is not None and segment.stack not in layout.stacks:
            known = ", ".join(layout.stacks) or "none"
            raise ValueError(
                f"segment {segment.name}: there is no stack {segment.stack!r}; stacks are {known}"
            )
        most = layout.depth(segment.stack)
        outside = segment.stack is None and (segment.first, segment.stop) == (0, 0)
        if outside and (layout.outside or not most):
            continue
        if not 0 <= segment.first < segment.stop <= most:
            raise ValueError(
                f"segment {segment.name}: layers [{segment.first}, {segment.stop}] of a model of "
                f"{most} layers; "
                + (f"give [first, stop] within [0, {most}]" if most else "give [0, 0]")
            )


def names_leaf(part: str, path: str, layout: Layout) -> bool:
    """Tell whether an entry of a segment's groups is part of a leaf's path, and no group."""
    return part not in layout.kinds and part in path


def expand(
    coefficients: Mapping[str, Array | np.ndarray], assignment: Mapping[str, np.ndarray]
) -> LeafCoefficients:
    """Look up the coefficients of every leaf by its segment. This works under jit and vmap.

    Args:
        coefficients: The coefficients by name: ``[sources, segments]``, or ``[segments]`` where all
            sources share them.
        assignment: The result of `assign`.
    """

    def look_up(value: Array | np.ndarray, index: np.ndarray) -> Array | np.ndarray:
        if isinstance(value, np.ndarray):  # which takes no program
            return np.take(value, index, axis=-1)
        return jnp.take(value, jnp.asarray(index), axis=-1)

    return {
        path: {name: look_up(value, index) for name, value in coefficients.items()}
        for path, index in assignment.items()
    }
