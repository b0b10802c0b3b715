"""The items of a split, ready to be drawn by models of one pipeline."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from evojax_merge.fitness.base import DrawBatch
from evojax_merge.fitness.drawing.items import Item
from evojax_merge.fitness.drawing.pipeline import Pipeline
from evojax_merge.models.ability import Common, PerItem
from evojax_merge.models.diffusion.conditions import Conditions, PromptTokens
from evojax_merge.models.request import Drawing


class Drawings:
    """Items and the pipeline that they are drawn by.

    What the text encoders make of the prompts is computed when a batch is first made, which is
    after everything is checked.

    Args:
        items: The items.
        pipeline: The pipeline around what is merged.
    """

    def __init__(self, items: Sequence[Item], pipeline: Pipeline) -> None:
        self.items, self.pipeline = tuple(items), pipeline

    def alike(self, other: "Drawings") -> bool:
        """Whether the same pictures are drawn."""
        own, others = ([item[1:] for item in one.items] for one in (self, other))
        return own == others and self.pipeline.alike(other.pipeline)

    def groups(
        self, rows: Int[np.ndarray, " items"]
    ) -> list[tuple[str, Int[np.ndarray, " places"]]]:
        """Divide items by their negative prompt, which those of a batch have in common.

        Args:
            rows: The places of the items.

        Returns:
            Each negative prompt, and the places in ``rows`` of its items.
        """
        if not self.pipeline.guided:
            return [("", np.arange(len(rows)))]
        found: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            found.setdefault(self.items[row].negative, []).append(place)
        return [(negative, np.array(places)) for negative, places in found.items()]

    def batch(
        self,
        rows: Int[np.ndarray, " items"],
        negative: str,
        judged: Sequence[np.ndarray],
        judge: Any,
    ) -> DrawBatch:
        """Make a batch.

        Args:
            rows: The places of its items.
            negative: Their negative prompt.
            judged: The arrays that the judge reads, with a row for each item of the split.
            judge: The parameters of the judge.
        """
        seeds = np.array([self.items[row].seed for row in rows], np.uint32)
        pipeline = self.pipeline
        away = pipeline.negative(negative) if pipeline.guided else None
        return DrawBatch(
            PerItem(self._conditions)[rows],
            seeds,
            PerItem(tuple(judged))[rows],
            Common(Drawing(pipeline.params, away, judge)),
        )

    def describe(self, row: int) -> dict[str, Any]:
        """Return the prompt of an item and what else its picture was drawn by."""
        item = self.items[row]
        negative = {"negative": item.negative} if self.pipeline.guided and item.negative else {}
        return {"prompt": item.prompt, **negative, "seed": item.seed}

    @functools.cached_property
    def _conditions(self) -> Conditions | PromptTokens:
        return self.pipeline.conditions([item.prompt for item in self.items])
