"""What a ``scheduler_config.json`` of diffusers says of the noise that a UNet removes.

Numbers are computed in the precision in which diffusers computes them, so that they are its own to
the bit.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

import numpy as np
from jaxtyping import Float32

from evojax_merge.documents.errors import shown

Kind = Literal["euler", "ddim", "dpmpp_2m", "lcm", "pndm"]
Prediction = Literal["epsilon", "v_prediction", "sample"]
Spacing = Literal["leading", "trailing", "linspace"]

KINDS: Mapping[str, Kind] = {
    "EulerDiscreteScheduler": "euler",
    "DDIMScheduler": "ddim",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "LCMScheduler": "lcm",
    "PNDMScheduler": "pndm",
}
"""The method of each class of diffusers."""

# What classes of diffusers assume where a file is silent, and what a single one of them does.
_DEFAULTS: Mapping[str, Any] = {
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}
_OWN_DEFAULTS: Mapping[Kind, Mapping[str, Any]] = {
    "euler": {"timestep_spacing": "linspace"},
    "dpmpp_2m": {"timestep_spacing": "linspace"},
    "lcm": {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
    "pndm": {"set_alpha_to_one": False},
}

# Fields of which only these values are computed. Whether x₀ is clipped is not read: pipelines of
# latents switch it off.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "trained_betas": (None,),
    "thresholding": (False,),
    "interpolation_type": ("linear",),
    "timestep_type": ("discrete",),
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
    "use_flow_sigmas": (False, None),
    "use_lu_lambdas": (False, None),
    "use_dynamic_shifting": (False, None),
    "sigma_min": (None,),
    "sigma_max": (None,),
    "variance_type": (None,),
    "algorithm_type": ("dpmsolver++",),
    "solver_type": ("midpoint",),
    "solver_order": (2,),
    "lower_order_final": (True,),
    "euler_at_final": (False,),
    "lambda_min_clipped": (None, -float("inf"), "-Infinity"),
}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The noise that a UNet was trained with, and which of its times are sampled.

    Attributes:
        beta_start: The variance of the noise of the first step of training.
        beta_end: That of its last step.
        beta_schedule: How it grows: ``linear``, or ``scaled_linear`` in its square root.
        prediction_type: What the UNet predicts: the noise, the picture (``sample``), or
            √ᾱ · noise − √(1 − ᾱ) · picture.
        timestep_spacing: Which times are sampled (Lin et al., 2023, arXiv 2305.08891, table 2).
            LCM has times of its own.
        num_train_timesteps: The number of steps in training.
        steps_offset: What is added to times in ``leading`` spacing.
        rescale_betas_zero_snr: Whether nothing of the picture is left at the last time (ibid.,
            algorithm 1).
        final_sigmas_type: The noise that is left in the end by ``euler`` and ``dpmpp_2m``: ``zero``
            or ``sigma_min``.
        set_alpha_to_one: Whether ``ddim`` and ``pndm`` leave no noise in the end.
        use_karras_sigmas: Whether ``euler`` and ``dpmpp_2m`` take times from Karras et al., 2022,
            arXiv 2206.00364, equation 5.
        original_inference_steps: The number of steps that ``lcm`` chooses its own among.
        timestep_scaling: The factor of times in the boundary condition of ``lcm``.
    """

    beta_start: float
    beta_end: float
    beta_schedule: str
    prediction_type: Prediction
    timestep_spacing: Spacing
    num_train_timesteps: int = 1000
    steps_offset: int = 0
    rescale_betas_zero_snr: bool = False
    final_sigmas_type: str = "zero"
    set_alpha_to_one: bool = True
    use_karras_sigmas: bool = False
    original_inference_steps: int = 50
    timestep_scaling: float = 10.0

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], kind: Kind) -> Self:
        """Read a ``scheduler_config.json`` for a method, which need not be that of its class.

        Raises:
            ValueError: A field has a value that is not computed.
        """
        given = {key: value for key, value in config.items() if value is not None}
        given = {**_DEFAULTS, **_OWN_DEFAULTS.get(kind, {}), **given}
        for field, values in _ONLY.items():
            if config.get(field, values[0]) not in values:
                raise ValueError(
                    f"scheduler_config.json: {field} {shown(config[field])} is not computed; "
                    f"the only value that is computed is {shown(values[0])}"
                )
        names = [field.name for field in dataclasses.fields(cls)]
        found = cls(**{name: given[name] for name in names if name in given})
        found._check()
        return found

    def alphas_cumprod(self) -> Float32[np.ndarray, " times"]:
        """Return ᾱ of every time of training: how much of a picture's variance is left."""
        start, end = self.beta_start, self.beta_end
        if self.beta_schedule == "scaled_linear":
            betas = _linspace(start**0.5, end**0.5, self.num_train_timesteps) ** 2
        else:
            betas = _linspace(start, end, self.num_train_timesteps)
        if self.rescale_betas_zero_snr:
            betas = _rescaled(betas)
        return _cumprod(np.float32(1) - betas)

    def _check(self) -> None:
        allowed = {
            "beta_schedule": ("scaled_linear", "linear"),
            "prediction_type": get_args(Prediction),
            "timestep_spacing": get_args(Spacing),
            "final_sigmas_type": ("zero", "sigma_min"),
            "rescale_betas_zero_snr": (False, True),
            "set_alpha_to_one": (False, True),
            "use_karras_sigmas": (False, True),
        }
        for field, values in allowed.items():
            if getattr(self, field) not in values:
                raise ValueError(
                    f"scheduler_config.json: {field} {shown(getattr(self, field))} is not "
                    f"computed; computed are {', '.join(map(str, values))}"
                )
        for field in ("num_train_timesteps", "original_inference_steps"):
            if type(getattr(self, field)) is not int or getattr(self, field) < 1:
                raise ValueError(
                    f"scheduler_config.json: {field} must be a positive whole number; "
                    f"got {shown(getattr(self, field))}"
                )
        if type(self.steps_offset) is not int or self.steps_offset < 0:
            raise ValueError(
                f"scheduler_config.json: steps_offset must be a whole number from 0 on; "
                f"got {shown(self.steps_offset)}"
            )
        betas = (self.beta_start, self.beta_end)
        if (
            not all(type(beta) in (int, float) for beta in betas)
            or not 0 < betas[0] <= betas[1] < 1
        ):
            raise ValueError(
                f"scheduler_config.json: beta_start and beta_end must be numbers with 0 < "
                f"beta_start ≤ beta_end < 1; got {shown(betas[0])} and {shown(betas[1])}"
            )
        scaling = self.timestep_scaling
        if type(scaling) not in (int, float) or not 0 < scaling < float("inf"):
            raise ValueError(
                f"scheduler_config.json: timestep_scaling must be a positive number; "
                f"got {shown(scaling)}"
            )


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How noise becomes latents in a number of steps.

    Attributes:
        kind: The method.
        schedule: The noise, and the times of the steps.
        steps: The number of steps.
    """

    kind: Kind
    schedule: Schedule
    steps: int

    @classmethod
    def from_hf(
        cls,
        config: Mapping[str, Any],
        steps: int,
        *,
        kind: str | None = None,
        timestep_spacing: str | None = None,
        prediction_type: str | None = None,
        use_karras_sigmas: bool | None = None,
    ) -> Self:
        """Read a ``scheduler_config.json``, whose values others may replace.

        Args:
            config: The content of the file.
            steps: The number of steps.
            kind: The method; by default, that of the class that the file names.
            timestep_spacing: See `Schedule`.
            prediction_type: See `Schedule`.
            use_karras_sigmas: See `Schedule`.

        Raises:
            ValueError: The method is not known, or cannot take so many steps; or a field has a
                value that is not computed.
        """
        name = config.get("_class_name")
        kind = KINDS.get(str(name)) if kind is None else kind
        if kind is None:
            raise ValueError(
                f"scheduler_config.json: {shown(name)} is not computed; choose a sampler, which is "
                f"one of {', '.join(KINDS.values())}"
            )
        if kind not in get_args(Kind):
            raise ValueError(f"sampler must be one of {', '.join(get_args(Kind))}; got {kind!r}")
        if kind == "pndm" and not config.get("skip_prk_steps", KINDS.get(str(name)) != "pndm"):
            raise ValueError(
                "scheduler_config.json: without skip_prk_steps PNDM begins with Runge-Kutta steps, "
                "which are not computed; set skip_prk_steps to true there, as Stable Diffusion 1.5 "
                "has it, or choose another sampler, fitness.sampler=ddim for example"
            )
        replaced = {
            "timestep_spacing": timestep_spacing,
            "prediction_type": prediction_type,
            "use_karras_sigmas": use_karras_sigmas,
        }
        given = {key: value for key, value in replaced.items() if value is not None}
        schedule = Schedule.from_hf({**config, **given}, kind)  # type: ignore[arg-type]
        found = cls(kind, schedule, steps)  # type: ignore[arg-type]
        found._check_known()
        found._check_steps()
        return found

    def _check_known(self) -> None:
        if self.kind == "pndm" and self.schedule.prediction_type == "sample":
            raise ValueError(
                "the sampler pndm is for UNets that predict epsilon or v_prediction; with "
                "prediction_type sample choose another one, fitness.sampler=ddim for example"
            )
        if self.kind == "pndm" and self.schedule.rescale_betas_zero_snr:
            raise ValueError(
                "the sampler pndm does not know rescale_betas_zero_snr; choose another one, "
                "fitness.sampler=ddim for example"
            )

    def _check_steps(self) -> None:
        total, steps = self.schedule.num_train_timesteps, self.steps
        most = min(total, self.schedule.original_inference_steps) if self.kind == "lcm" else total
        if self.kind == "dpmpp_2m":
            most = total - 1
        if type(steps) is not int or not 1 <= steps <= most:
            raise ValueError(
                f"steps of the sampler {self.kind} must be a whole number from 1 to {most}; "
                f"got {steps!r}"
            )
        leading = self.kind != "lcm" and self.schedule.timestep_spacing == "leading"
        blind = self.schedule.rescale_betas_zero_snr and self.schedule.prediction_type == "epsilon"
        if blind and not leading and self.kind in ("ddim", "lcm"):
            raise ValueError(
                f"with rescale_betas_zero_snr the sampler {self.kind} begins where nothing but "
                "noise is left, of which a UNet that predicts noise (prediction_type epsilon) "
                "says nothing; take v_prediction if that is what the UNet predicts, or the sampler "
                "euler"
            )
        spaces = steps + 1 if self.kind == "dpmpp_2m" else steps
        first = (spaces - 1) * (total // spaces) + self.schedule.steps_offset
        if leading and first >= total:
            raise ValueError(
                f"{steps} steps in leading spacing would begin at time {first}, and the last time "
                f"of training is {total - 1}; take fewer steps, or timestep_spacing=trailing"
            )


def _linspace(start: float, end: float, count: int) -> Float32[np.ndarray, " times"]:
    """Return evenly spaced numbers as torch computes them in float32: from each end to the middle.

    A product and a sum are rounded together. In float64 they are exact.
    """
    first, last = np.float32(start), np.float32(end)
    step = np.float64((last - first) / np.float32(max(count - 1, 1)))
    index = np.arange(count)
    rising, falling = first + step * index, last - step * (count - 1 - index)
    return np.where(index < count // 2, rising, falling).astype(np.float32)


def _cumprod(factors: Float32[np.ndarray, " times"]) -> Float32[np.ndarray, " times"]:
    """Return cumulative products, each rounded to float32 only in the end, as in torch."""
    return np.cumprod(factors, dtype=np.float64).astype(np.float32)


def _rescaled(betas: Float32[np.ndarray, " times"]) -> Float32[np.ndarray, " times"]:
    """Shift and scale √ᾱ so that it ends at 0 and begins where it was (arXiv 2305.08891)."""
    left = np.sqrt(_cumprod(np.float32(1) - betas))
    scaled = (left - left[-1]) * (left[0] / (left[0] - left[-1]))
    squares = scaled**2
    return np.float32(1) - np.concatenate([squares[:1], squares[1:] / squares[:-1]])
