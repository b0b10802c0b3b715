"""How pictures are drawn: steps, guidance, size and what else a user may choose."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self, get_args

from evojax_merge.documents.arguments import check_number, check_option, check_whole
from evojax_merge.models.diffusion.conditions import Pooled
from evojax_merge.models.diffusion.schedule import KINDS, Prediction, Spacing

LARGEST = 4096
"""The greatest height or width of a picture."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The settings that pictures are drawn by.

    Attributes:
        steps: The number of steps.
        sampler: The method, ``euler``, ``ddim``, ``dpmpp_2m``, ``lcm`` or ``pndm``; by default,
            that of the pipeline.
        spacing: Which times are sampled, ``leading``, ``trailing`` or ``linspace``; by default, as
            the pipeline says.
        prediction: What the UNet predicts, ``epsilon``, ``v_prediction`` or ``sample``; likewise.
        guidance: How far the prompt leads away from the negative prompt. At 1 or less the UNet runs
            on the prompt alone.
        height: The height in pixels; by default, that which the UNet was trained on.
        width: The width in pixels; likewise.
        pooled: Which encoder's features of the whole prompt the UNet of an SDXL is given, see
            `evojax_merge.models.diffusion.conditions.Pooled`.
        clip_skip: How many more of the last layers of the text encoders do not run.
        rows: How many pictures are drawn at a time; by default, all, or as many as memory holds.

    Raises:
        ValueError: A setting makes no sense.
    """

    steps: int = 30
    sampler: str | None = None
    spacing: str | None = None
    prediction: str | None = None
    guidance: float = 5.0
    height: int | None = None
    width: int | None = None
    pooled: str = "first_projected"
    clip_skip: int = 0
    rows: int | None = None

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1)
        check_whole("clip_skip", self.clip_skip, 0)
        check_number("guidance", self.guidance)
        check_option("pooled", self.pooled, get_args(Pooled))
        for name, options in (
            ("sampler", [*KINDS.values()]),
            ("spacing", [*get_args(Spacing)]),
            ("prediction", [*get_args(Prediction)]),
        ):
            if getattr(self, name) is not None:
                check_option(name, getattr(self, name), options)
        for name in ("height", "width"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 8, LARGEST)
        if self.rows is not None:
            check_whole("rows", self.rows, 1)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Make settings of plain values, as a recipe has them.

        Raises:
            ValueError: A setting does not exist or makes no sense.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in known:
                raise ValueError(f"there is no setting {name!r}; there are {', '.join(known)}")
        return cls(**settings)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return dataclasses.asdict(self)
