"""Whole pictures equal those of diffusers' pipelines, from the same noise."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import PNDMScheduler
from scipy.ndimage import uniform_filter

from evojax_merge.models.diffusion.conditioning import prompt_tokens
from evojax_merge.models.diffusion.conditions import (
    Conditioning,
    Conditions,
    PromptTokens,
    time_ids,
)
from evojax_merge.models.diffusion.drawing import (
    both,
    check_size,
    draw,
    noise_of,
    whole_numbers,
)
from evojax_merge.models.diffusion.schedule import Sampler
from evojax_merge.models.request import Draw
from tests.drawing_factory import make_pipeline, read_parts

PROMPTS = ["a red 3", "cat"]
SEEDS = np.array([3, 2**32 - 1], np.uint32)
SIZE = {"height": 32, "width": 24}


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def request_of(pipeline, steps, guidance):
    scheduler = pipeline.scheduler
    config = {**scheduler.config, "_class_name": type(scheduler).__name__}
    index = {"_class_name": type(pipeline).__name__}
    return Draw(
        sampler=Sampler.from_hf(config, steps),
        guidance=guidance,
        vae=read_parts(pipeline)[0]["vae"],
        conditioning=Conditioning.from_hf(index),
        **SIZE,
    )


def encoders_of(pipeline):
    return {name: config for name, config in read_parts(pipeline)[0].items() if "text" in name}


def ours(pipeline, request, prompts=PROMPTS, seeds=SEEDS):
    configs, params = read_parts(pipeline)
    encoders = encoders_of(pipeline)
    tokenizers = {
        name: getattr(pipeline, name.replace("text_encoder", "tokenizer")) for name in encoders
    }
    large = len(encoders) == 2
    ids = np.stack([time_ids(**SIZE)] * len(prompts)) if large else None
    items = PromptTokens(prompt_tokens(tokenizers, prompts), ids)
    negative = None if large else PromptTokens(prompt_tokens(tokenizers, [""]))
    drawn = functools.partial(draw, configs["unet"], request, encoders=encoders)
    return np.asarray(jax.jit(drawn)(params, items, seeds, negative))


def theirs(pipeline, request):
    noise = np.asarray(noise_of(SEEDS, (4, SIZE["height"] // 2, SIZE["width"] // 2)))
    with torch.no_grad():
        found = pipeline(
            PROMPTS,
            num_inference_steps=request.sampler.steps,
            guidance_scale=request.guidance,
            latents=torch.tensor(noise),
            output_type="pt",
            **SIZE,
        )
    return found.images.numpy()


def ssim(a, b):
    """The structural similarity of each picture, over windows of 7 pixels (Wang et al., 2004)."""
    mean = functools.partial(uniform_filter, size=(1, 1, 7, 7))
    mean_a, mean_b = mean(a), mean(b)
    variances = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    ratio = (2 * mean_a * mean_b + 0.01**2) * (2 * covariance + 0.03**2)
    ratio /= (mean_a**2 + mean_b**2 + 0.01**2) * (variances + 0.03**2)
    return ratio.mean(axis=(1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sdxl", "sd"])
@pytest.mark.parametrize(
    ("spacing", "steps", "guidance"), [("trailing", 4, 0.0), ("leading", 30, 5.0)]
)
def test_pictures_equal_those_of_diffusers(kind, spacing, steps, guidance):
    assert_pictures_equal(make_pipeline(kind, timestep_spacing=spacing), steps, guidance)


@pytest.mark.slow
def test_pictures_of_pndm_equal_those_of_diffusers():
    pipeline = make_pipeline("sd", method=PNDMScheduler, skip_prk_steps=True)
    assert_pictures_equal(pipeline, 30, 5.0)


def assert_pictures_equal(pipeline, steps, guidance):
    request = request_of(pipeline, steps, guidance)
    found, expected = ours(pipeline, request), theirs(pipeline, request)
    expected = np.round(255 * expected) / 255  # as in a file
    assert expected.std() > 0.1
    np.testing.assert_allclose(255 * found, 255 * expected, rtol=0, atol=1 + 1e-3)
    assert np.mean(np.abs(found - expected) > 1e-3) < 0.001
    assert ssim(found.astype(np.float64), expected.astype(np.float64)).min() >= 0.9999


def test_noise_is_a_function_of_the_seed_alone():
    seeds = np.array([5, 7, 5, *range(10, 70)], np.uint32)
    noise, later = (np.asarray(noise_of(seeds, (4, 8, 8), index)) for index in (0, 1))
    np.testing.assert_array_equal(noise[0], noise[2])
    np.testing.assert_array_equal(noise[1:2], noise_of(seeds[1:2], (4, 8, 8)))
    assert np.abs(noise[0] - noise[1]).max() > 1
    assert np.abs(noise[0] - later[0]).max() > 1
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


def test_the_negative_prompt_comes_first_and_is_zeros_by_default():
    own = Conditions(jnp.ones((2, 3, 4)), jnp.ones((2, 5)), jnp.ones((2, 6)))
    context, pooled, ids = both(own, None)
    assert context[:2].sum() == pooled[:2].sum() == 0
    assert context[2:].sum() == 24
    assert ids.sum() == 24
    context, pooled, ids = both(own, Conditions(2 * jnp.ones((1, 3, 4)), 3 * jnp.ones((1, 5))))
    assert context[:2].min() == 2
    assert pooled[:2].min() == 3
    assert both(Conditions(jnp.ones((2, 3, 4))), None).pooled is None


def test_a_picture_that_failed_is_nan_to_the_judge_and_black_in_a_file():
    pictures = jnp.array([0.0, 1.0, jnp.nan, 127 / 255]).reshape(1, 1, 2, 2)
    assert whole_numbers(pictures)[0, :, :, 0].tolist() == [[0, 255], [0, 127]]


def test_the_size_of_pictures_must_have_latents():
    request = request_of(make_pipeline("sdxl"), 4, 0.0)
    with pytest.raises(ValueError, match="width of pictures must be a multiple of 2"):
        check_size(dataclasses.replace(request, width=31))
