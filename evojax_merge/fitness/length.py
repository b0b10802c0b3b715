"""How short answers are, an objective beside how good they are.

Merges of models that reason at length with models that do not trade one for the other: Evo-L2S,
arXiv 2604.06465, keeps the accuracy with half of the tokens.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Integer

from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.beside import BesideTask, BoundBeside


class LengthTask(BesideTask):
    """Minus the number of tokens that a model writes before it ends an answer."""

    measure = Measure("minus length", "tokens")

    def __init__(self, name: str = "length", of: str | None = None) -> None:
        super().__init__(name, of)

    def bound(self, source: Any, model: Any) -> "BoundLength":
        del model
        return BoundLength(source)


class BoundLength(BoundBeside):
    """Minus the length of each answer."""

    def _results(
        self,
        tokens: Integer[np.ndarray, "pop batch new"],
        lengths: Int[np.ndarray, "pop batch"],
        rows: Int[np.ndarray, " batch"],
    ) -> Float32[np.ndarray, "pop batch"]:
        return -lengths.astype(np.float32)
