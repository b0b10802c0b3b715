"""The parts of a network that a search space may treat apart."""

from typing import Literal

Group = Literal["attention", "mlp", "norm", "embedding", "head"]
