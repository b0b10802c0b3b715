"""How close the weights of a merge stay to those of its base, an objective beside others."""

from typing import Any

import numpy as np

from evojax_merge.checkpoints import Checkpoint, load, load_config
from evojax_merge.documents.arguments import check_text
from evojax_merge.fitness.base import Batch, DistanceBatch, Measure
from evojax_merge.fitness.whole_model import BoundWholeModel, WholeModelTask
from evojax_merge.models.ability import Common
from evojax_merge.models.request import Distance


class DistanceTask(WholeModelTask):
    """Minus the distance ``‖w − b‖ / ‖b‖`` of all weights w to those of a base b.

    Args:
        model: The directory or hub id of the base.
        name: What results tables call the task.

    Raises:
        ValueError: There is no base.
    """

    measure = Measure("minus distance", "of the base's norm", sampled=False)

    def __init__(self, model: str | None, name: str = "distance") -> None:
        if model is None:
            raise ValueError(
                f"{name}: there is no base to be close to; give model.base, or its directory as "
                f"fitness.tasks.{name}.model"
            )
        self.model = check_text(f"{name}: model", model, empty=False)
        super().__init__(name)

    def bind(self, model: Any) -> "BoundDistance":
        """Make the task ready for models like this one.

        Raises:
            ValueError: The base has other weights.
        """
        base = load_config(self.model, getattr(model, "described", False))
        own, other = (one.family.layout(one.config).shapes for one in (model, base))
        if own != other:
            path = next(one for one in {**own, **other} if own.get(one) != other.get(one))
            raise ValueError(
                f"{self.name}: {path} of the models is {own.get(path, 'missing')}, and that of "
                f"{self.model} is {other.get(path, 'missing')}; name a base of the same shapes"
            )
        return BoundDistance(base)


class BoundDistance(BoundWholeModel):
    """The weights of the base as a batch of one."""

    request = Distance()
    key = "distance"
    divisible = False

    def __init__(self, base: Checkpoint) -> None:
        self._base = base
        self._params: Any = base.family.abstract_params(base.config)
        self._is_read = False

    def prepare(self) -> None:
        """Read the weights of the base."""
        if not self._is_read:
            self._params, self._is_read = load(self._base).params, True

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The base, or its shapes until it is read."""
        return (DistanceBatch(np.zeros(1, np.int32), Common(self._params)),)
