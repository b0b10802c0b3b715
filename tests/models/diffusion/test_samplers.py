"""Samplers go the way of diffusers' schedulers, from the same noise and with the same UNet."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
)

from evojax_merge.models.diffusion.samplers import sample
from evojax_merge.models.diffusion.schedule import Sampler
from evojax_merge.models.diffusion.steps import initial_sigma, steps_of

SDXL = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LEADING = {**SDXL, "timestep_spacing": "leading", "steps_offset": 1}
TRAILING = {**SDXL, "timestep_spacing": "trailing"}
CLASSES = {
    "euler": EulerDiscreteScheduler,
    "ddim": DDIMScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
    "lcm": LCMScheduler,
    "pndm": PNDMScheduler,
}
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
PNDM = {**LEADING, "skip_prk_steps": True}
CASES = [
    ("pndm", PNDM, 50),
    ("lcm", SDXL, 7),
    ("lcm", SDXL, 1),
    ("lcm", {**SDXL, **ZERO_SNR}, 7),
    *(
        (kind, {**spacing, "prediction_type": prediction}, steps)
        for prediction in ("epsilon", "v_prediction", "sample")
        for spacing, steps in ((LEADING, 30), (TRAILING, 4), (SDXL, 17))
        for kind in ("euler", "ddim", "dpmpp_2m")
    ),
    *(
        (kind, {**TRAILING, **ZERO_SNR}, steps)
        # Euler's σ is 4096 at first. In one step from there diffusers subtracts numbers of that
        # size, which rounds the result to multiples of 1/4096.
        for kind, steps in (("euler", 20), ("ddim", 1), ("ddim", 20), ("dpmpp_2m", 20))
    ),
    *(
        (kind, {**LEADING, **extra}, 12)
        for kind in ("euler", "dpmpp_2m")
        for extra in ({"use_karras_sigmas": True}, {"final_sigmas_type": "sigma_min"})
    ),
    ("dpmpp_2m", {**TRAILING, "final_sigmas_type": "sigma_min"}, 20),
    *(
        ("pndm", {**PNDM, **spacing, "prediction_type": prediction}, steps)
        for prediction in ("epsilon", "v_prediction")
        for spacing, steps in (
            (LEADING, 50),
            (TRAILING, 4),
            ({"timestep_spacing": "linspace"}, 17),
            (LEADING, 2),
            (TRAILING, 1),
        )
    ),
    ("pndm", {**PNDM, "set_alpha_to_one": True}, 5),
    ("ddim", {**LEADING, "set_alpha_to_one": False}, 10),
    ("euler", {**LEADING, "beta_schedule": "linear"}, 10),
]


def fake_unet(x, timestep):
    """A bounded function of latents and time, of whichever library."""
    module = torch if isinstance(x, torch.Tensor) else jnp
    return 0.8 * x / (1 + abs(x)) + 0.3 * module.sin(0.7 * x + 0.003 * timestep)


def draw_noise(seed):
    return np.random.default_rng(seed).standard_normal((2, 4, 8, 8)).astype(np.float32)


def theirs(kind, config, steps, monkeypatch):
    scheduler = CLASSES[kind].from_config(dict(config, clip_sample=False))
    scheduler.set_timesteps(steps)
    later = iter(range(1, steps + 1))
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_lcm.randn_tensor",
        lambda *args, **kwargs: torch.tensor(draw_noise(next(later))),
    )
    x = torch.tensor(draw_noise(0)) * scheduler.init_noise_sigma
    way = []
    for timestep in scheduler.timesteps:
        output = fake_unet(scheduler.scale_model_input(x, timestep), timestep)
        x = scheduler.step(output, timestep, x, return_dict=False)[0]
        way.append(x.numpy())
    return scheduler, way[-1]


@pytest.mark.few(8)
@pytest.mark.parametrize(("kind", "config", "steps"), CASES)
def test_the_way_is_that_of_diffusers(kind, config, steps, monkeypatch):
    scheduler, expected = theirs(kind, config, steps, monkeypatch)
    sampler = Sampler.from_hf(config, steps, kind=kind)
    later = jnp.stack([draw_noise(1 + index) for index in range(steps)])
    found = np.asarray(sample(sampler, fake_unet, draw_noise(0), lambda index: later[index]))
    np.testing.assert_allclose(steps_of(sampler).timestep, scheduler.timesteps.numpy(), rtol=1e-6)
    assert initial_sigma(sampler) == pytest.approx(float(scheduler.init_noise_sigma), rel=2e-7)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


FULL_NOISE = {
    # values of diffusers 0.42.1 for SDXL (thirty steps) and for SDXL-Lightning (four)
    "leading": (30, 11.520334243774414, [958, 925, 892, 859]),
    "trailing": (4, 14.614646911621094, [999, 749, 499, 249]),
}
SIGMAS = {
    "leading": [11.476850509643555, 9.543585777282715, 8.004313468933105],
    "trailing": [14.614646911621094, 4.081730842590332, 1.6128870248794556, 0.6932054162025452],
}


@pytest.mark.parametrize("spacing", FULL_NOISE)
def test_times_and_noise_are_those_of_sdxl(spacing):
    steps, full, times = FULL_NOISE[spacing]
    config = {**LEADING, "timestep_spacing": spacing, "_class_name": "EulerDiscreteScheduler"}
    sampler = Sampler.from_hf(config, steps)
    found = steps_of(sampler)
    assert initial_sigma(sampler) == full
    assert found.timestep[:4].tolist() == times
    assert (-found.of_output[: len(SIGMAS[spacing])]).tolist() == SIGMAS[spacing]


def test_a_setting_replaces_what_the_file_says():
    config = {**PNDM, "_class_name": "PNDMScheduler"}
    sampler = Sampler.from_hf(
        config, 4, kind="euler", timestep_spacing="trailing", prediction_type="v_prediction"
    )
    assert sampler.schedule.timestep_spacing == "trailing"
    assert sampler.schedule.prediction_type == "v_prediction"


def test_pndm_takes_the_first_step_twice():
    sampler = Sampler.from_hf({**PNDM, "_class_name": "PNDMScheduler"}, 4)
    assert steps_of(sampler).timestep.tolist() == [751, 501, 501, 251, 1]
    assert sampler == Sampler.from_hf({**LEADING, "set_alpha_to_one": False}, 4, kind="pndm")


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        ({"_class_name": "HeunDiscreteScheduler"}, {}, "HeunDiscreteScheduler"),
        (LEADING, {"kind": "heun"}, "sampler must be one of euler, ddim, dpmpp_2m, lcm, pndm"),
        ({**LEADING, "_class_name": "PNDMScheduler"}, {}, "set skip_prk_steps to true"),
        ({**PNDM, "skip_prk_steps": False}, {"kind": "pndm"}, "set skip_prk_steps to true"),
        ({**PNDM, "prediction_type": "sample"}, {"kind": "pndm"}, "fitness.sampler=ddim"),
        ({**PNDM, **ZERO_SNR}, {"kind": "pndm"}, "rescale_betas_zero_snr"),
        ({**LEADING, "thresholding": True}, {"kind": "ddim"}, "thresholding True"),
        ({**LEADING, "algorithm_type": "sde-dpmsolver++"}, {"kind": "dpmpp_2m"}, "algorithm_type"),
        ({**LEADING, "beta_schedule": "squaredcos_cap_v2"}, {"kind": "ddim"}, "beta_schedule"),
        ({**LEADING, "prediction_type": "flow"}, {"kind": "ddim"}, "prediction_type"),
        ({**LEADING, "beta_end": "0.012"}, {"kind": "ddim"}, "beta_end"),
        ({**LEADING, "num_train_timesteps": 0}, {"kind": "ddim"}, "num_train_timesteps"),
        (LEADING, {"kind": "euler", "steps": 0}, "from 1 to 1000"),
        (LEADING, {"kind": "lcm", "steps": 51}, "from 1 to 50"),
        (LEADING, {"kind": "ddim", "steps": 1000}, "begin at time 1000"),
        ({**TRAILING, "rescale_betas_zero_snr": True}, {"kind": "ddim"}, "nothing but noise"),
    ],
)
def test_a_schedule_that_is_not_computed_is_refused(config, settings, message):
    with pytest.raises(ValueError, match=message):
        Sampler.from_hf(config, **{"steps": 4, **settings})
