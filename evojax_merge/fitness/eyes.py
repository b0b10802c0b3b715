"""What a task knows of the model whose vision tower and projector see its pictures."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import jax

from evojax_merge.checkpoints import Checkpoint, load, take_parts
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.fitness.pictures import Picture, PictureProcessor
from evojax_merge.models import kind_of
from evojax_merge.models.family import NAMED
from evojax_merge.models.seeing.config import LANGUAGE, PARTS, PROJECTOR, TOWER
from evojax_merge.models.seeing.vision import Look, Vision
from evojax_merge.params.abstract import computed
from evojax_merge.params.types import Params

SEEING = (TOWER, PROJECTOR)


@dataclasses.dataclass(frozen=True)
class Eyes:
    """How a model sees pictures.

    Attributes:
        vision: What the model sees of a picture.
        carrier: The checkpoint of the parts that are not merged; None where all are.
        merged: The parts that candidates have of their own.
    """

    vision: Vision
    carrier: Checkpoint | None
    merged: tuple[str, ...]

    @classmethod
    def of(cls, model: Any, one_view: bool, task: str) -> Self:
        """Find what sees pictures for a model, or for a part of it.

        Args:
            model: A model or a checkpoint.
            one_view: Whether a picture is seen once and whole, also by a model that sees tiles.
            task: The name of the task in messages.

        Raises:
            ValueError: The model does not see.
        """
        carrier: Checkpoint | None = getattr(model, "carrier", None)
        whole = carrier or model
        family = getattr(whole, "family", None)
        if family is None or not family.sees:
            what = "reads text alone"
            if family is NAMED:
                what = f"is a {kind_of(whole.hf_config)}, which this package only merges"
            raise ValueError(
                f"{task}: this task needs a model that sees pictures and writes text, as LLaVA or "
                f"Qwen2.5-VL; this one {what}; give one as model.base, in model.sources or as "
                "model.carrier"
            )
        merged = whole.config.present if carrier is None else model.parts
        vision: Vision = family.vision(whole.config)
        return cls(vision.one_view() if one_view else vision, carrier, merged)

    @property
    def fixed(self) -> bool:
        """Whether all candidates see alike, since neither tower nor projector is merged."""
        return not set(SEEING) & set(self.merged)

    def looks(self, processor: PictureProcessor, pictures: Sequence[Picture]) -> list[Look]:
        """Prepare pictures for the model.

        Raises:
            DataError: A picture cannot be read.
            CheckpointError: The processor makes something else than the model sees.
        """
        views = processor.views(pictures)
        try:
            return [self.vision.look(*view) for view in views]
        except ValueError as error:
            raise CheckpointError(
                f"{processor.path}: {error}; give the processor of this model as fitness.processor"
            ) from error

    def others(self) -> Params:
        """Read the parts that candidates do not have of their own, by name.

        The layers of a language model stand in buffers of their own, as those of candidates do.
        """
        names = tuple(part for part in PARTS if part not in self.merged)
        if self.carrier is None or not names:
            return {}
        model = load(take_parts(self.carrier, names))
        params = computed(jax.jit(model.family.layout(model.config).unroll), model.params)
        return {LANGUAGE: params} if names == (LANGUAGE,) else params
