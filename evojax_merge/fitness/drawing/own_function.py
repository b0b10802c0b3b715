"""A score that a Python function of the user's own gives."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from evojax_merge.documents.arguments import check_number
from evojax_merge.documents.own_code import OwnCode, load_own
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.drawing.items import Item
from evojax_merge.fitness.drawing.network import Networks
from evojax_merge.fitness.drawing.score import BoundScore, Score, Values


class OwnFunction(Score):
    """What a function makes of prompts and pictures.

    Args:
        name: The function, as ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``. It is called with the
            prompts of a candidate's pictures and the pictures, uint8 ``[n, height, width, 3]``,
            and gives ``n`` numbers.
        worst: What a black picture scores. The function is not asked.
        task: The name of the task in messages.

    Raises:
        ValueError: There is no such function, or ``worst`` is no number.
    """

    def __init__(self, name: str, worst: float, task: str) -> None:
        check_number(f"{task}: worst", worst)
        self._own = load_own(name, f"{task}: function")
        self._worst = float(worst)
        self._where = f"{task}: function {name}"
        self.measure = Measure(name, "points")

    def bind(self, items: Sequence[Item], networks: Networks) -> "BoundFunction":
        """Take the prompts."""
        prompts = [item.prompt for item in items]
        return BoundFunction(self._own, prompts, self._worst, self._where)


class BoundFunction(BoundScore):
    """A function and the prompts of the items."""

    def __init__(self, own: OwnCode, prompts: Sequence[str], worst: float, where: str) -> None:
        self._own, self._prompts, self.worst = own, prompts, worst
        self._where = where

    def results(
        self, values: Values, rows: Int[np.ndarray, " items"]
    ) -> Float[np.ndarray, "pop items"]:
        """Call the function once for each candidate, with the pictures that are not black.

        Raises:
            ValueError: The function fails, or does not give a number for each picture.
        """
        found = np.full(values.shape[:2], self.worst)
        for own, pictures in zip(found, values, strict=True):
            shows = np.flatnonzero(pictures.reshape(len(pictures), -1).any(axis=1))
            if not len(shows):
                continue
            prompts = [self._prompts[row] for row in rows[shows]]
            try:
                given = np.asarray(self._own.function(prompts, pictures[shows]))
            except Exception as error:
                raise ValueError(f"{self._where} fails: {self._own.failed(error)}") from error
            if given.shape != (len(shows),) or given.dtype.kind not in "biuf":
                raise ValueError(
                    f"{self._where}: gives {given.dtype} {list(given.shape)} for {len(shows)} "
                    "pictures; it must give a number for each"
                )
            own[shows] = given
        return found
