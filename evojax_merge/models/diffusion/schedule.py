"""When and how much noise: what a ``scheduler_config.json`` of diffusers says."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self

Kind = Literal["euler", "ddim", "dpmpp_2m", "lcm"]
Prediction = Literal["epsilon", "v_prediction", "sample"]
Spacing = Literal["leading", "trailing", "linspace"]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The noise that a UNet was trained with, and which of its times are sampled."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    prediction_type: Prediction = "epsilon"
    timestep_spacing: Spacing = "leading"
    steps_offset: int = 0

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read a ``scheduler_config.json``."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How noise becomes latents in a number of steps.

    Attributes:
        kind: The method.
        schedule: The noise, and the times of the steps. Another ``timestep_spacing`` or
            ``prediction_type`` than the file's is a `dataclasses.replace` of it.
        steps: The number of steps.
    """

    kind: Kind
    schedule: Schedule
    steps: int
