"""Which part of the network every leaf of a parameter tree belongs to."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from evojax_merge.models.family import Family
from evojax_merge.models.groups import Group


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a space and a recipe need to know of a model.

    Attributes:
        groups: Parameter group of each leaf, by path.
        layered: Paths of the leaves that are stacked over layers.
        num_layers: Length of their leading axis, 0 when no leaf is stacked.
    """

    groups: Mapping[str, Group]
    layered: frozenset[str]
    num_layers: int

    @classmethod
    def of(cls, family: Family, config: Any) -> Self:
        """The layout of the models of one family and configuration."""
        groups = family.groups(config)
        layered = frozenset(path for path in groups if family.is_layered(config, path))
        return cls(groups, layered, family.num_layers(config))

    @property
    def kinds(self) -> tuple[Group, ...]:
        """The parameter groups that occur, in the order of the tree."""
        return tuple(dict.fromkeys(self.groups.values()))
