"""How short a model is, an objective of data-flow merges beside others."""

from typing import Any

import numpy as np

from evojax_merge.fitness.base import Batch, Measure, SizeBatch
from evojax_merge.fitness.whole_model import BoundWholeModel, WholeModelTask
from evojax_merge.models.request import CountLayers


class SizeTask(WholeModelTask):
    """Minus the number of layers that a token passes, relative to the model measured against.

    A path through a pool with as many hops as its skeleton has layers scores -1, and one of half
    as many scores -0.5. All merges in parameter space are of one size, so there it is no objective.

    Args:
        name: What results tables call the task.
    """

    measure = Measure("minus size", "share of the skeleton's layers", sampled=False)

    def __init__(self, name: str = "size") -> None:
        super().__init__(name)

    def bind(self, model: Any) -> "BoundSize":
        """Make the task ready for models like this one.

        Raises:
            ValueError: The model has no layers to count.
        """
        family = getattr(model, "family", None)
        layers = family.layout(model.config).depth() if family is not None else 0
        if not layers:
            raise ValueError(f"{self.name}: this task counts a decoder's layers")
        return BoundSize(layers)


class BoundSize(BoundWholeModel):
    """The layers that are run over those of the skeleton, which is a batch of one."""

    request = CountLayers()
    key = "layers"

    def __init__(self, layers: int) -> None:
        self.batches: tuple[Batch, ...] = (SizeBatch(np.array([layers], np.int32)),)
