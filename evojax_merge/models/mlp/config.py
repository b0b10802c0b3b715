"""What distinguishes one multilayer perceptron from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """Widths from the input features to the classes."""

    hidden_sizes: tuple[int, ...]

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read ``{"model_type": "mlp", "hidden_sizes": [features, ..., classes]}``.

        Raises:
            ValueError: There are fewer than two widths, or one is not a positive integer.
        """
        sizes = config.get("hidden_sizes")
        valid = isinstance(sizes, list | tuple) and len(sizes) >= 2
        if not valid or not all(isinstance(size, int) and size > 0 for size in sizes or ()):
            raise ValueError(
                f"config.json: hidden_sizes must list at least two positive widths, "
                f"features first and classes last; got {sizes!r}"
            )
        return cls(tuple(sizes or ()))
