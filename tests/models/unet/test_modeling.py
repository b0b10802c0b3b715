"""Inputs, gradients, probes and dtypes of a UNet."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models import family_of
from evojax_merge.models.request import Compute, CountLayers
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.unet.modeling import forward, init_params
from evojax_merge.models.unet.params import layout
from evojax_merge.params.tree import flatten, unflatten
from tests.unet_factory import UNETS, unet_inputs

CONFIG = UNetConfig.from_hf(UNETS["small"])


@pytest.fixture(scope="module")
def params():
    return init_params(CONFIG, jax.random.key(0))


@pytest.mark.slow
def test_random_parameters(params):
    leaves = flatten(params)
    groups = layout(CONFIG).groups
    for path, leaf in leaves.items():
        if path.endswith(".bias"):
            assert (leaf == 0).all()
        elif groups[path] == "norm":
            assert (leaf == 1).all()
    own = leaves["down_blocks.1.attentions.0.transformer_blocks.ff.net.2.weight"]
    assert own.shape == (2, 32, 128)
    np.testing.assert_allclose([own.min(), own.max()], [-(128**-0.5), 128**-0.5], rtol=0.01)
    conv = leaves["conv_in.weight"]  # 4 channels in a window of 9 pixels
    np.testing.assert_allclose([conv.min(), conv.max()], [-1 / 6, 1 / 6], rtol=0.02)
    assert abs(np.corrcoef(own[0].ravel(), own[1].ravel())[0, 1]) < 0.1


@pytest.mark.slow
def test_the_gradient_of_a_denoising_loss_reaches_every_leaf(params):
    latents, *rest = unet_inputs(CONFIG)
    noise = np.random.default_rng(2).standard_normal(latents.shape).astype(np.float32)

    def loss(params):
        return jnp.mean((forward(CONFIG, params, latents + noise, *rest) - noise) ** 2)

    value, found = jax.jit(jax.value_and_grad(loss))(params)
    assert 0.1 < value < 10
    for path, leaf in flatten(found).items():
        assert jnp.isfinite(leaf).all(), path
        each = leaf if path in layout(CONFIG).stacked else leaf[None]
        assert (jnp.abs(each).reshape(len(each), -1).max(1) > 0).all(), path
    smaller = jax.tree.map(lambda p, g: p - 0.1 * g, params, found)
    assert jax.jit(loss)(smaller) < value


@pytest.mark.slow
def test_the_gradient_is_that_of_the_torch_model():
    import torch

    from tests.unet_factory import read, torch_model

    model = torch_model(UNETS["small"])
    config, params = read(UNETS["small"], model)
    latents, timesteps, context, pooled, sizes = unet_inputs(config)
    added = {"text_embeds": torch.from_numpy(pooled), "time_ids": torch.from_numpy(sizes)}
    given = (torch.from_numpy(part) for part in (latents, timesteps, context))
    (model(*given, added_cond_kwargs=added).sample ** 2).mean().backward()
    theirs = {name: own.grad.numpy() for name, own in model.named_parameters()}

    def loss(params):
        found = forward(config, params, latents, timesteps, context, pooled, sizes)
        return jnp.mean(found**2)

    with jax.default_matmul_precision("highest"):
        found = flatten(jax.jit(jax.grad(loss))(params))
    for name, slot in layout(config).slots.items():
        ours = found[slot.path] if slot.layer is None else found[slot.path][slot.layer]
        scale = np.abs(theirs[name]).max()
        np.testing.assert_allclose(ours, theirs[name], rtol=0, atol=1e-4 * scale, err_msg=name)


@pytest.mark.slow
def test_probes_observe_what_linear_layers_read(params):
    inputs = unet_inputs(CONFIG)
    own = layout(CONFIG)
    probed = dict(flatten(params))
    for layer in set(own.linear_inputs.values()):
        depth, _, width = own.shapes[f"{layer}.weight"]
        probed[f"{layer}.probe"] = jnp.zeros((depth, width, width))
        probed[f"{layer}.rows"] = jnp.ones((depth, 2, 1))

    def total(leaves):
        return forward(CONFIG, unflatten(leaves), *inputs, probed=True).sum()

    value, found = jax.jit(jax.value_and_grad(total))(probed)
    plain = forward(CONFIG, params, *inputs).sum()
    np.testing.assert_allclose(value, plain, rtol=1e-5)
    text = "down_blocks.1.attentions.0.transformer_blocks.attn2.to_k.probe"
    context = inputs[2].reshape(-1, CONFIG.context_width)
    for gram in found[text]:
        np.testing.assert_allclose(gram, context.T @ context, rtol=1e-4, atol=1e-4)
    grams = [found[path] for path in probed if path.endswith(".probe")]
    assert all((jnp.trace(gram, axis1=1, axis2=2) > 0).all() for gram in grams)


def test_half_precision_stays_what_it_is(params):
    half = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), params)
    run = functools.partial(forward, CONFIG)
    found = jax.eval_shape(run, half, *unet_inputs(CONFIG))
    assert (found.shape, found.dtype) == ((2, 4, 8, 8), jnp.bfloat16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: np.zeros((2, 3, 8, 8), np.float32)}, "latents of 3 channels .* which is 4"),
        ({2: np.zeros((2, 7, 5), np.float32)}, "texts of width 5 .* which is 24"),
        ({3: None}, "pooled texts and time_ids this UNet reads both .*; got 1"),
        ({3: np.zeros((2, 5), np.float32)}, "pooled texts of width 5 .* which is 20"),
    ],
)
def test_inputs_that_the_model_does_not_read_are_refused(change, message, params):
    inputs = [change.get(place, value) for place, value in enumerate(unet_inputs(CONFIG))]
    with pytest.raises(ValueError, match=message):
        forward(CONFIG, params, *inputs)


def test_conditions_without_their_embedding_are_refused():
    plain = UNetConfig.from_hf(UNETS["inpainting"])
    inputs = (*unet_inputs(plain), np.zeros((2, 20), np.float32))
    with pytest.raises(ValueError, match="reads neither pooled texts nor time_ids"):
        forward(plain, {"conv_in": {"weight": np.zeros(1)}}, *inputs)


@pytest.mark.slow
def test_a_task_of_ones_own_sees_the_tensors_by_name(params):
    family = family_of(UNETS["small"])
    axes = layout(CONFIG).population_axes()
    both = jax.tree.map(lambda leaf, axis: jnp.stack([leaf, 2 * leaf], axis), params, axes)
    name = "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q.weight"
    request = Compute(lambda tensors, batch: tensors[name].sum() * batch)
    found = family.ability(request).program(CONFIG, request, axes)(both, jnp.ones(3))
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-6)
    assert found.shape == (2, 3)
    layers = family.ability(CountLayers()).program(CONFIG, CountLayers(), axes)(
        both, jnp.ones(1, int)
    )
    np.testing.assert_array_equal(layers, [[2], [2]])
