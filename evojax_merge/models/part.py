"""Parts of a model that can be merged by themselves."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evojax_merge.models.family import Family


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a model: a branch of its parameter tree.

    Attributes:
        name: The name of the part in recipes and messages.
        prefix: The path of the branch in the tree of the whole.
        hf_config: The key under which the fields of the part stand in ``config.json``, if they
            stand together.
        family: The family that the part is a model of, if it is one by itself.
        config: The configuration of the part as a model of that family, or None without one.
        own_hf_config: The function that makes, of the ``config.json`` of the whole, the one that
            the part would have as a model by itself.
        merged: Whether it is merged if nothing is said, where it is a model by itself.
    """

    name: str
    prefix: str
    hf_config: str | None = None
    family: "Family | None" = None
    config: Any = None
    own_hf_config: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    merged: bool = True
