"""Segments: the parts of a model within which a source's coefficients are constant."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple, get_args

import jax.numpy as jnp
import numpy as np

from evojax_merge.layout import Layout
from evojax_merge.models.groups import Group
from evojax_merge.types import Array

LeafCoefficients = dict[str, dict[str, Array]]
"""By leaf path and coefficient name: ``[sources]``, or ``[sources, layers]`` of a stacked leaf."""


class Segment(NamedTuple):
    """The leaves of some parameter groups in the layers ``first <= layer < stop``.

    ``groups`` names parameter groups (`evojax_merge.models.groups.Group`) or parts of leaves'
    paths, such as ``q_proj``. A leaf that a part of its path names belongs there, and not with its
    group.
    Leaves that belong to no layer count as part of the first layer when they are embeddings, of
    the last one otherwise (final norm, head).
    """

    name: str
    groups: tuple[str, ...]
    first: int
    stop: int

    @property
    def label(self) -> str:
        """The name, with the layers it covers where there are any."""
        if self.stop - self.first <= 0:
            return self.name
        return f"{self.name} {self.first}–{self.stop - 1}"


def assign(segments: Sequence[Segment], layout: Layout) -> dict[str, np.ndarray]:
    """Index of the segment of every leaf: a scalar, or one per layer of a stacked leaf.

    Raises:
        ValueError: A leaf is in no segment, or in two; or a segment names what is not there.
    """
    _check_segments(segments, layout)
    last = max(layout.num_layers - 1, 0)
    assignment = {}
    problems = []
    for path, group in layout.groups.items():
        layers = range(layout.num_layers) if path in layout.layered else [0]
        if path not in layout.layered and group != "embedding":
            layers = [last]
        named = any(names_leaf(part, path, layout) for s in segments for part in s.groups)
        owners = [
            [
                index
                for index, segment in enumerate(segments)
                if any(
                    names_leaf(part, path, layout) if named else part == group
                    for part in segment.groups
                )
                and (segment.first <= layer < segment.stop or layout.num_layers == 0)
            ]
            for layer in layers
        ]
        for layer, owner in zip(layers, owners, strict=True):
            if len(owner) != 1:
                where = f"{path}, layer {layer}" if path in layout.layered else path
                names = ", ".join(segments[index].label for index in owner) or "no segment"
                problems.append(f"{where}: in {names}")
        flat = np.array([owner[0] if owner else 0 for owner in owners], np.int32)
        assignment[path] = flat if path in layout.layered else flat[0]
    if problems:
        raise ValueError("every leaf must be in one segment:\n  " + "\n  ".join(problems))
    return assignment


def _check_segments(segments: Sequence[Segment], layout: Layout) -> None:
    """Whether the model has what the segments name; a tied model may lack the group of a head."""
    groups = get_args(Group)
    for segment in segments:
        for part in segment.groups:
            if part in groups or any(part in path for path in layout.groups):
                continue
            parts = {name for path in layout.groups for name in path.split(".")}
            near = get_close_matches(part, [*groups, *sorted(parts)], n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(
                f"segment {segment.name}: {part!r} is no parameter group and part of no leaf's "
                f"path{hint}"
            )
        if twice := sorted({p for p in segment.groups if segment.groups.count(p) > 1}):
            raise ValueError(f"segment {segment.name}: names {', '.join(twice)} twice")
        most = layout.num_layers
        rises = segment.first < segment.stop if most else segment.first == segment.stop
        if not (segment.first >= 0 and segment.stop <= most and rises):
            raise ValueError(
                f"segment {segment.name}: layers [{segment.first}, {segment.stop}] of a model of "
                f"{most} layers; "
                + (f"give [first, stop] within [0, {most}]" if most else "give [0, 0]")
            )


def names_leaf(part: str, path: str, layout: Layout) -> bool:
    """Whether an entry of a segment's groups is part of a leaf's path (and no group's name)."""
    return part not in layout.kinds and part in path


def expand(
    coefficients: Mapping[str, Array | np.ndarray], assignment: Mapping[str, np.ndarray]
) -> LeafCoefficients:
    """The coefficients of every leaf, looked up by segment; works under jit and vmap.

    Args:
        coefficients: By name: ``[sources, segments]``, or ``[segments]`` if not per source.
        assignment: Of `assign`.
    """
    return {
        path: {
            name: jnp.take(jnp.asarray(value), jnp.asarray(index), axis=-1)
            for name, value in coefficients.items()
        }
        for path, index in assignment.items()
    }
