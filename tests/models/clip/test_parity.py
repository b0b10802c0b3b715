"""Features and hidden states against transformers' torch models, from the same checkpoint."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from evojax_merge.models.clip.modeling import (
    image_features,
    image_states,
    similarity,
    text_features,
    text_states,
)
from evojax_merge.models.clip.params import layout
from evojax_merge.params.tree import flatten, unflatten
from tests.clip_factory import (
    IMAGE,
    clip_config,
    pictures,
    read_clip,
    spell_as_before,
    texts,
    tower_config,
    write_clip,
)

CONFIGS = {
    "quick_gelu": clip_config(),
    "gelu": clip_config({"hidden_act": "gelu"}, {"hidden_act": "gelu"}),
    "mixed": clip_config({"hidden_act": "gelu", "layer_norm_eps": 1e-3}, {"layer_norm_eps": 0.1}),
    "legacy-eos": clip_config({"eos_token_id": 2}),
    "added-tokens": clip_config({"eos_token_id": 30}),
    "patches-left-over": clip_config(vision={"image_size": 18}),
    "one-channel": clip_config(vision={"num_channels": 1, "patch_size": 8}),
}
TOLERANCE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def run(function, config, params, *inputs):
    return jax.jit(functools.partial(function, config))(params, *inputs)


def inputs_of(config):
    pixels = pictures(config.vision.image_size)[:, : config.vision.num_channels]
    tokens = texts()
    tokens[3, 6] = 30  # the end of this text where the configuration says so
    return tokens, pixels


@pytest.mark.few(1)
@pytest.mark.parametrize("name", CONFIGS)
def test_features_and_similarity_equal_transformers(name, tmp_path):
    model = write_clip(tmp_path, CONFIGS[name])
    config, params = read_clip(tmp_path, CONFIGS[name])
    tokens, pixels = inputs_of(config)
    with torch.no_grad():
        found = model(torch.from_numpy(tokens).long(), torch.from_numpy(pixels))
        words = model.get_text_features(torch.from_numpy(tokens).long()).pooler_output
        views = model.get_image_features(torch.from_numpy(pixels)).pooler_output
    ours_words = run(text_features, config, params, tokens)
    ours_views = run(image_features, config, params, pixels)
    assert words.std(0).mean() > 0.3  # the texts differ
    assert views.std(0).mean() > 0.1  # the pictures differ
    np.testing.assert_allclose(ours_words, words, **TOLERANCE)
    np.testing.assert_allclose(ours_views, views, **TOLERANCE)
    logits = similarity(ours_views, ours_words, params["logit_scale"])
    np.testing.assert_allclose(logits, found.logits_per_image, **TOLERANCE)


@pytest.mark.few(2)
@pytest.mark.parametrize("spelling", ["bare", "as-before", "projected"])
@pytest.mark.parametrize("tower", ["text", "vision"])
def test_every_hidden_state_of_a_tower_alone_equals_transformers(tower, spelling, tmp_path):
    hf_config = tower_config(tower, projected=spelling == "projected")
    model = write_clip(tmp_path, hf_config)
    if spelling == "as-before":
        spell_as_before(tmp_path, tower)
    config, params = read_clip(tmp_path, hf_config)
    inputs = texts() if tower == "text" else pictures()
    with torch.no_grad():
        given = torch.from_numpy(inputs)
        found = model(given.long() if tower == "text" else given, output_hidden_states=True)
    states, features = {
        "text": (text_states, text_features),
        "vision": (image_states, image_features),
    }[tower]
    numbers = [*range(len(found.hidden_states)), -2]

    def every_state(config, params, inputs):
        return [states(config, params, inputs, layer) for layer in numbers]

    ours = run(every_state, config, params, inputs)
    for layer, state in zip(numbers, ours, strict=True):
        np.testing.assert_allclose(state, found.hidden_states[layer], **TOLERANCE)
    embeds = "text_embeds" if tower == "text" else "image_embeds"
    pooled = found[embeds] if spelling == "projected" else found.pooler_output
    np.testing.assert_allclose(run(features, config, params, inputs), pooled, **TOLERANCE)


@pytest.mark.parametrize("name", ["quick_gelu", "legacy-eos"])
def test_an_attention_mask_over_padding_on_the_right_changes_no_features(name, tmp_path):
    model = write_clip(tmp_path, CONFIGS[name])
    config, params = read_clip(tmp_path, CONFIGS[name])
    tokens = texts()
    ends = (tokens == tokens.max()).argmax(1)
    mask = np.arange(tokens.shape[1]) <= ends[:, None]
    with torch.no_grad():
        given = (torch.from_numpy(tokens).long(), torch.from_numpy(mask).long())
        expected = model.get_text_features(*given).pooler_output
    np.testing.assert_allclose(run(text_features, config, params, tokens), expected, **TOLERANCE)


def test_pictures_prepared_by_transformers_give_the_features_of_transformers(tmp_path):
    model = write_clip(tmp_path, CONFIGS["quick_gelu"])
    config, params = read_clip(tmp_path, CONFIGS["quick_gelu"])
    size = {"height": IMAGE, "width": IMAGE}
    processor = CLIPImageProcessorPil(size={"shortest_edge": IMAGE}, crop_size=size)
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    images = [Image.fromarray(noise), Image.fromarray(noise[:20, :, 0])]  # in colour, and grey
    pixels = processor(images, return_tensors="np")["pixel_values"]
    with torch.no_grad():
        expected = model.get_image_features(torch.from_numpy(pixels)).pooler_output
    np.testing.assert_allclose(run(image_features, config, params, pixels), expected, **TOLERANCE)


@pytest.mark.few(1)
@pytest.mark.parametrize("tower", ["text", "vision"])
def test_bfloat16_features_are_as_near_to_float32_as_transformers(tower, tmp_path):
    """Both round at different places; the truth is the float32 result on the same weights."""
    hf_config = tower_config(tower, projected=True)
    model = write_clip(tmp_path, hf_config).bfloat16()
    model.save_pretrained(tmp_path)
    config, params = read_clip(tmp_path, hf_config)
    inputs = texts() if tower == "text" else pictures()
    given = torch.from_numpy(inputs)
    given = given.long() if tower == "text" else given.bfloat16().float()
    with torch.no_grad():
        theirs = model(given)[0].float().numpy()
        exact = model.float()(given)[0].numpy()
    features = text_features if tower == "text" else image_features
    ours = run(features, config, params, inputs)
    assert ours.dtype == jnp.bfloat16
    error_ours = np.asarray(ours, np.float32) - exact
    error_torch = theirs - exact
    assert 0 < np.sqrt(np.mean(error_ours**2)) <= 1.25 * np.sqrt(np.mean(error_torch**2))
    assert np.abs(error_ours).max() <= 2 * np.abs(error_torch).max()


@pytest.mark.few(1)
@pytest.mark.parametrize("tower", ["text", "vision"])
def test_probes_see_what_the_linear_modules_of_torch_read(tower, tmp_path):
    hf_config = tower_config(tower, projected=True)
    model = write_clip(tmp_path, hf_config)
    config, params = read_clip(tmp_path, hf_config)
    inputs = texts() if tower == "text" else pictures()
    theirs = {}

    def hook(name, module, read):
        rows = read[0].reshape(-1, read[0].shape[-1])
        theirs[f"{name}.weight"] = (rows.T @ rows).numpy()

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(functools.partial(hook, name))
    with torch.no_grad():
        given = torch.from_numpy(inputs)
        model(given.long() if tower == "text" else given)

    leaves = flatten(params)
    probes = {}
    for path in set(layout(config).linear_inputs.values()):
        *layers, _, width = leaves[f"{path}.weight"].shape
        probes[f"{path}.probe"] = jnp.zeros((*layers, width, width))
        rows = (len(inputs), 1) if layers else (len(inputs),)
        leaves[f"{path}.rows"] = jnp.ones((*layers, *rows))
    features = text_features if tower == "text" else image_features
    given = jnp.asarray(inputs)

    def total(probes):
        return features(config, unflatten(leaves | probes), given, probed=True).sum()

    grams = jax.jit(jax.grad(total))(probes)
    seen = 0
    for path, probe in layout(config).linear_inputs.items():
        found = grams[f"{probe}.probe"]
        for layer, gram in enumerate(found.reshape(-1, *found.shape[-2:])):
            name = layout(config).names[path].format(layer=layer)
            np.testing.assert_allclose(gram, theirs[name], rtol=1e-4, atol=1e-4)
            seen += 1
    assert seen == len(theirs)
