"""Samplers go the way of diffusers' schedulers, from the same noise and with the same UNet."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
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
}
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
CASES = [
    *(
        (kind, {**spacing, "prediction_type": prediction}, steps)
        for kind in ("euler", "ddim", "dpmpp_2m")
        for spacing in (LEADING, TRAILING, SDXL)
        for prediction in ("epsilon", "v_prediction", "sample")
        for steps in (4, 17)
    ),
    *(
        (kind, {**TRAILING, **ZERO_SNR}, steps)
        for kind in ("euler", "ddim", "dpmpp_2m")
        for steps in (1, 6, 20)
    ),
    *(
        (kind, {**spacing, **extra}, 12)
        for kind in ("euler", "dpmpp_2m")
        for spacing in (LEADING, TRAILING)
        for extra in ({"use_karras_sigmas": True}, {"final_sigmas_type": "sigma_min"})
    ),
    ("dpmpp_2m", {**LEADING, "final_sigmas_type": "sigma_min"}, 20),
    ("ddim", {**LEADING, "set_alpha_to_one": False}, 10),
    ("euler", {**LEADING, "beta_schedule": "linear"}, 10),
    *(("lcm", {**SDXL, **extra}, steps) for extra in ({}, ZERO_SNR) for steps in (1, 4, 7)),
]


def fake_unet(x, timestep):
    """A bounded function of latents and time, of whichever library."""
    module = torch if isinstance(x, torch.Tensor) else jnp
    return 0.9 * module.sin(1.7 * x + 0.003 * timestep) + 0.1 * module.cos(x[..., ::1] * 0.3)


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


@pytest.mark.parametrize(("kind", "config", "steps"), CASES)
def test_the_way_is_that_of_diffusers(kind, config, steps, monkeypatch):
    scheduler, expected = theirs(kind, config, steps, monkeypatch)
    sampler = Sampler.from_hf(config, steps, kind=kind)
    later = jnp.stack([draw_noise(1 + index) for index in range(steps)])
    found = np.asarray(sample(sampler, fake_unet, draw_noise(0), lambda index: later[index]))
    np.testing.assert_allclose(steps_of(sampler).timestep, scheduler.timesteps.numpy(), rtol=1e-6)
    assert initial_sigma(sampler) == float(scheduler.init_noise_sigma)
    print(np.abs(found-expected).max(), np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
