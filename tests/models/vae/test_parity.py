"""Latents and pictures against diffusers' torch model, with the same weights."""

import functools

import jax
import numpy as np
import pytest
import torch

from evojax_merge.models.vae.modeling import decode, encode, forward
from tests.unet_factory import VAES, read, torch_model

TOLERANCE = 1e-5
"""The greatest difference, in parts of the greatest number."""


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def check(ours, theirs):
    theirs = theirs.numpy()
    assert theirs.std() > 0.1
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.few(1)
@pytest.mark.parametrize("name", VAES)
def test_an_autoencoder_computes_what_diffusers_does(name):
    model = torch_model(VAES[name])
    config, params = read(VAES[name], model)
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 24)).astype(np.float32)
    with torch.no_grad():
        found = model.encode(torch.from_numpy(pictures)).latent_dist
        drawn = model.decode(found.mean).sample
    mean, logvar = jax.jit(functools.partial(encode, config))(params, pictures)
    check(mean, found.mean)
    check(logvar, found.logvar)
    check(jax.jit(functools.partial(decode, config))(params, found.mean.numpy()), drawn)


@pytest.mark.slow
def test_variances_are_bounded_and_a_model_has_only_the_branches_that_it_needs():
    config, params = read(VAES["small"], torch_model(VAES["small"]))
    pictures = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
    alone = {name: params[name] for name in ("encoder", "quant_conv")}
    bias = params["quant_conv"]["bias"]
    alone["quant_conv"] = {**params["quant_conv"], "bias": bias.at[4].set(99).at[5].set(-99)}
    _, logvar = encode(config, alone, pictures)
    np.testing.assert_array_equal(logvar[0, 0], 20)
    np.testing.assert_array_equal(logvar[0, 1], -30)
    rest = {name: params[name] for name in ("decoder", "post_quant_conv")}
    again = decode(config, rest, encode(config, params, pictures)[0])
    np.testing.assert_array_equal(again, forward(config, params, pictures))


def test_what_has_other_channels_is_refused():
    config, params = read(VAES["small"], torch_model(VAES["small"]))
    grey = np.zeros((1, 1, 8, 8), np.float32)
    with pytest.raises(ValueError, match="pictures of 1 channels are not what this autoencoder"):
        encode(config, params, grey)
    with pytest.raises(ValueError, match=r"latents of 1 channels are not .* which is 4"):
        decode(config, params, grey)
