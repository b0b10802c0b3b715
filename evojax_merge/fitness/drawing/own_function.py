"""A score that a Python function of the user's own gives."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from evojax_merge.documents.arguments import check_number
from evojax_merge.documents.errors import shown
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.drawing.items import Item
from evojax_merge.fitness.drawing.network import Networks
from evojax_merge.fitness.drawing.score import BoundScore, Score, Values


class OwnFunction(Score):
    """What a function makes of prompts and pictures.

    Args:
        name: The function, as ``module.name``. It is called with the prompts of a candidate's
            pictures and the pictures, uint8 ``[n, height, width, 3]``, and gives ``n`` numbers.
        worst: What a black picture scores. The function is not asked.
        task: The name of the task in messages.

    Raises:
        ValueError: There is no such function, or ``worst`` is no number.
    """

    def __init__(self, name: str, worst: float, task: str) -> None:
        check_number(f"{task}: worst", worst)
        self._function, self._worst = _function(name, task), float(worst)
        self._where = f"{task}: function {name}"
        self.measure = Measure(name, "points")

    def bind(self, items: Sequence[Item], networks: Networks) -> "BoundFunction":
        """Take the prompts."""
        prompts = [item.prompt for item in items]
        return BoundFunction(self._function, prompts, self._worst, self._where)


class BoundFunction(BoundScore):
    """A function and the prompts of the items."""

    def __init__(
        self, function: Callable[..., Any], prompts: Sequence[str], worst: float, where: str
    ) -> None:
        self._function, self._prompts, self.worst = function, prompts, worst
        self._where = where

    def results(
        self, values: Values, rows: Int[np.ndarray, " items"]
    ) -> Float[np.ndarray, "pop items"]:
        """Call the function once for each candidate, with the pictures that are not black.

        Raises:
            ValueError: The function does not give a number for each picture.
        """
        found = np.full(values.shape[:2], self.worst)
        for own, pictures in zip(found, values, strict=True):
            shows = np.flatnonzero(pictures.reshape(len(pictures), -1).any(axis=1))
            if not len(shows):
                continue
            prompts = [self._prompts[row] for row in rows[shows]]
            given = np.asarray(self._function(prompts, pictures[shows]))
            if given.shape != (len(shows),) or given.dtype.kind not in "biuf":
                raise ValueError(
                    f"{self._where}: gives {given.dtype} {list(given.shape)} for {len(shows)} "
                    "pictures; it must give a number for each"
                )
            own[shows] = given
        return found


def _function(name: str, task: str) -> Callable[..., Any]:
    where = f"{task}: function is {shown(name)}"
    module, dot, own = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if not dot or not module or not own:
        raise ValueError(f"{where}; give module.name of a function that can be imported")
    try:
        found = getattr(importlib.import_module(module), own)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where}, which cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"{where}, which is no function but a {type(found).__name__}")
    return found
