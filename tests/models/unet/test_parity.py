"""Predictions against diffusers' torch model, with the same weights."""

import functools

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from evojax_merge.models.unet import attention
from evojax_merge.models.unet.attention import attend
from evojax_merge.models.unet.blocks import Down, Mid, Up
from evojax_merge.models.unet.modeling import forward
from evojax_merge.models.unet.timesteps import sinusoids
from tests.unet_factory import UNETS, read, torch_model, torch_unet, unet_inputs

TOLERANCE = 1e-5
"""The greatest difference, in parts of the greatest number."""


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def check(ours, theirs):
    theirs = np.asarray(theirs)
    assert theirs.std() > 0.1
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.few(1)
@pytest.mark.parametrize("size", [(7, 10), (8, 8)], ids=["odd", "even"])
@pytest.mark.parametrize("name", UNETS)
def test_a_unet_predicts_what_diffusers_does(name, size):
    model = torch_model(UNETS[name])
    config, params = read(UNETS[name], model)
    inputs = unet_inputs(config, *size)
    ours = jax.jit(functools.partial(forward, config))(params, *inputs)
    check(ours, torch_unet(model, inputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdxl", "sd15", "uneven"])
def test_each_block_computes_what_diffusers_does(name):
    model = torch_model(UNETS[name])
    config, params = read(UNETS[name], model)
    rng = np.random.default_rng(1)
    time, context = draw(rng, config.time_width), draw(rng, 7, config.context_width)
    given = {"temb": torch.from_numpy(time)}
    levels = range(len(config.channels))
    for number, level in enumerate(levels):
        x = draw(rng, config.channels[max(level - 1, 0)], 6, 5)
        theirs = model.down_blocks[number]
        ours = run(Down(config, level), params["down_blocks"][str(number)], x, time, context)
        with torch.no_grad():
            text = texts(theirs, context)
            _, states = theirs(hidden_states=torch.from_numpy(x), **given, **text)
        for own, state in zip(ours, states, strict=True):
            check(back(own), state)
    x = draw(rng, config.channels[-1], 6, 5)
    with torch.no_grad():
        text = texts(model.mid_block, context)
        found = model.mid_block(torch.from_numpy(x), **given, **text)
    check(back(run(Mid(config), params["mid_block"], x, time, context)), found)
    for number, level in enumerate(reversed(levels)):
        theirs = model.up_blocks[number]
        widths = [each.in_channels for each in theirs.resnets]
        x = draw(rng, config.channels[min(level + 1, len(levels) - 1)], 6, 5)
        before = [x.shape[1], *[config.channels[level]] * (len(widths) - 1)]
        skips = [draw(rng, own - b, 6, 5) for own, b in zip(widths, before, strict=True)][::-1]
        wanted = draw(rng, 1, 12, 9)
        with torch.no_grad():
            found = theirs(
                hidden_states=torch.from_numpy(x),
                res_hidden_states_tuple=tuple(map(torch.from_numpy, skips)),
                upsample_size=(12, 9),
                **given,
                **texts(theirs, context),
            )
        ours = run(
            Up(config, level),
            params["up_blocks"][str(number)],
            x,
            [wanted, *skips],
            time,
            context,
        )
        check(back(ours), found)


def draw(rng, *shape):
    return rng.standard_normal((2, *shape)).astype(np.float32)


def texts(block, context):
    has = getattr(block, "has_cross_attention", False)
    return {"encoder_hidden_states": torch.from_numpy(context)} if has else {}


def back(x):
    return x.transpose(0, 3, 1, 2)


def run(block, params, x, *others):
    """A block with channels first, for which the lists of feature maps are made anew."""
    first, *rest = others
    skips = [[each.transpose(0, 2, 3, 1) for each in first]] if isinstance(first, list) else [first]

    def compute(params, x, skips, rest):
        return nnx.merge(nnx.graphdef(block), params)(x, *skips, *rest)

    return jax.jit(compute)(params, x.transpose(0, 2, 3, 1), skips, rest)


@pytest.mark.parametrize("width", [8, 9])
@pytest.mark.parametrize(("cosine_first", "shift"), [(True, 0.0), (False, 1.0)])
def test_sinusoids_equal_those_of_diffusers(width, cosine_first, shift):
    from diffusers.models.embeddings import get_timestep_embedding

    numbers = np.array([0, 1, 37.5, 999], np.float32)
    theirs = get_timestep_embedding(torch.from_numpy(numbers), width, cosine_first, shift)
    ours = sinusoids(numbers, width, cosine_first, shift)
    # The angle 999 has an error of 6e-5 in float32, and so has a cosine of it.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    np.testing.assert_allclose(ours[:3], theirs[:3], rtol=0, atol=4e-6)


def test_attention_in_pieces_is_attention(monkeypatch):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, seq, 3, 4)).astype(np.float32) for seq in (11, 13, 13))

    def compute(q, k, v):
        found, back = jax.vjp(attend, q, k, v)
        return found, back(found)

    whole = jax.jit(compute)(q, k, v)
    monkeypatch.setitem(attention._SCORES, "cpu", 4 * 13)
    assert "11,13" in str(jax.make_jaxpr(jax.nn.dot_product_attention)(q, k, v))
    anew = jax.jit(lambda *given: compute(*given))
    assert "11,13" not in str(jax.make_jaxpr(anew)(q, k, v))
    pieces = anew(q, k, v)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), whole, pieces)
