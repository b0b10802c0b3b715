"""What a task knows of the model whose vision tower and projector see its pictures."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

from evojax_merge.checkpoints import Checkpoint, load, take_parts
from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.fitness.pictures import Picture, PictureProcessor, Views
from evojax_merge.models.llava.config import LANGUAGE, PARTS, LlavaConfig, PictureConfig
from evojax_merge.models.llava.pictures import tiles_of
from evojax_merge.params.types import Params

SEEING = ("vision_tower", "projector")


@dataclasses.dataclass(frozen=True)
class Eyes:
    """How a model sees pictures.

    Attributes:
        config: The whole model.
        carrier: The checkpoint of the parts that are not merged; None where all are.
        merged: The parts that candidates have of their own.
        pictures: How pictures enter a prompt.
    """

    config: LlavaConfig
    carrier: Checkpoint | None
    merged: tuple[str, ...]
    pictures: PictureConfig

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
        config = getattr(carrier or model, "config", None)
        if not isinstance(config, LlavaConfig):
            raise ValueError(
                f"{task}: this task needs a model that sees pictures and writes text, as LLaVA; "
                "this one reads text alone; give one as model.base, in model.sources or as "
                "model.carrier"
            )
        pictures = config.pictures
        if one_view:
            pictures = dataclasses.replace(pictures, pinpoints=None)
        return cls(config, carrier, config.present if carrier is None else model.parts, pictures)

    @property
    def fixed(self) -> bool:
        """Whether all candidates see alike, since neither tower nor projector is merged."""
        return not set(SEEING) & set(self.merged)

    def views(self, processor: PictureProcessor, pictures: Sequence[Picture]) -> list[Views]:
        """Prepare pictures for the model.

        Raises:
            DataError: A picture cannot be read.
            CheckpointError: The processor makes other tiles than the model sees.
        """
        vision = self.config.vision
        made = processor.views(
            pictures, (vision.num_channels, vision.image_size, vision.image_size)
        )
        for view in made:
            expected = tiles_of(self.pictures, view.size)
            if len(view.pixels) != expected:
                raise CheckpointError(
                    f"{processor.path}: cuts a picture of {view.size[0]} × {view.size[1]} pixels "
                    f"into {len(view.pixels)} views, and the model sees {expected}; give the "
                    "processor of this model as fitness.processor"
                )
        return made

    def others(self) -> Params:
        """Read the parts that candidates do not have of their own, by name."""
        names = tuple(part for part in PARTS if part not in self.merged)
        if self.carrier is None or not names:
            return {}
        params = load(take_parts(self.carrier, names)).params
        return {LANGUAGE: params} if names == (LANGUAGE,) else params
