"""What distinguishes one multilayer perceptron from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Self

from evojax_merge.documents.schema import Document, length, read, whole


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """The widths of a perceptron, from the input features to the classes."""

    hidden_sizes: tuple[int, ...]

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read ``{"model_type": "mlp", "hidden_sizes": [features, ..., classes]}``.

        Raises:
            ValueError: There are fewer than two widths, or one is not a positive integer.
        """
        return cls(tuple(read(_Written, config, "config.json").hidden_sizes))


class _Written(Document):
    hidden_sizes: Annotated[list[Annotated[int, whole(1, 2**24)]], length(2)]
