"""Features, logits and answers against transformers' torch models, from the same checkpoint."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from evojax_merge.models.llava.modeling import (
    features,
    forward,
    gathered,
)
from evojax_merge.models.llava.pictures import gather_index, num_tokens, tiles_of
from tests.llava_factory import (
    PICTURE_TOKEN,
    llava_config,
    pictures_of,
    pixels_of,
    read_llava,
    write_llava,
)

TOLERANCE = {"rtol": 0, "atol": 2e-5}
SIZES = ((16, 16), (1, 1), (3, 90), (90, 3), (23, 40))

CONFIGS = {
    "llava-mistral": llava_config(),
    "next-qwen3": llava_config("llava_next", "qwen3"),
    "next-mistral": llava_config("llava_next"),
    "llava-llama": llava_config(text="llama"),
    "llava-qwen2": llava_config(text="qwen2"),
    "next-llama": llava_config("llava_next", "llama"),
    "next-qwen2": llava_config("llava_next", "qwen2"),
    "llava-qwen3": llava_config(text="qwen3"),
    "several-layers": llava_config(vision_feature_layer=[-2, 1, -1, -2]),
    "another-layer": llava_config("llava_next", vision_feature_layer=1),
    "full": llava_config(vision_feature_select_strategy="full"),
    "no-bias": llava_config(multimodal_projector_bias=False, projector_hidden_act="gelu_new"),
    "gelu-tower": llava_config(vision={"hidden_act": "gelu"}, projector_hidden_act="silu"),
    "tied": llava_config(text="qwen2", text_changes={"tie_word_embeddings": True}),
}


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


class Pair:
    """A checkpoint as both read it, with a prompt for a picture."""

    def __init__(self, folder, hf_config):
        self.model = write_llava(folder, hf_config)
        written = json.loads((folder / "config.json").read_text())
        self.config, self.params = read_llava(folder, written)
        self.processor = AutoProcessor.from_pretrained(folder)
        self.pixels = pixels_of(self.processor)

    def theirs(self, image, text="USER: <image>\nWhat? ASSISTANT:"):
        return self.processor(images=[image], text=[text], return_tensors="pt")

    def features(self, image):
        """The features of a picture in the order of its tokens, with an axis for one prompt."""
        tiles = pictures_of(self.processor, image)
        index = gather_index(self.config.pictures, (image.height, image.width))
        assert len(tiles) == tiles_of(self.config.pictures, (image.height, image.width))

        @jax.jit
        def run(params, tiles, index):
            rows = features(self.config, params, tiles, self.pixels)
            return gathered(self.config, params, rows[None], index[None])

        return run(self.params, tiles, index)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The pair of a configuration's name."""
    return functools.cache(lambda name: Pair(tmp_path_factory.mktemp(name), CONFIGS[name]))


@pytest.fixture
def both(request, pair):
    return pair(request.param)


def picture(size, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return Image.fromarray(noise)


def all_configs():
    return pytest.mark.parametrize("both", CONFIGS, indirect=True)


@pytest.mark.few(2)
@all_configs()
def test_features_and_logits_equal_transformers(both):
    image = picture((23, 40))
    inputs = both.theirs(image)
    with torch.no_grad():
        outputs = both.model(**inputs)
        given = {k: v for k, v in inputs.items() if k in ("pixel_values", "image_sizes")}
        expected = torch.cat(list(both.model.get_image_features(**given).pooler_output))
    ours = both.features(image)[0]
    assert expected.std(0).mean() > 0.1  # places differ
    np.testing.assert_allclose(ours, expected, **TOLERANCE)
    np.testing.assert_allclose(ours, outputs.image_hidden_states.reshape(ours.shape), **TOLERANCE)
    tokens = np.asarray(inputs["input_ids"], np.int32)
    assert (tokens == PICTURE_TOKEN).sum() == len(ours)

    @jax.jit
    def run(params, tokens, features):
        return forward(both.config, params, tokens, jnp.zeros(1, int), features=features)[0]

    logits = run(both.params, tokens, ours[None])
    np.testing.assert_allclose(logits, outputs.logits, rtol=0, atol=1e-4)
    other = run(both.params, tokens, ours[None] * 0)
    assert np.abs(other - logits)[:, -1].max() > 0.1  # the picture counts


@pytest.mark.few(2)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("both", ["llava-mistral", "next-qwen3"], indirect=True)
def test_pictures_of_all_shapes_have_the_features_of_transformers(both, size):
    image = picture(size)
    inputs = both.theirs(image)
    with torch.no_grad():
        given = {k: v for k, v in inputs.items() if k in ("pixel_values", "image_sizes")}
        expected = torch.cat(list(both.model.get_image_features(**given).pooler_output))
    assert (inputs["input_ids"] == PICTURE_TOKEN).sum() == num_tokens(both.config.pictures, size)
    np.testing.assert_allclose(both.features(image)[0], expected, **TOLERANCE)
