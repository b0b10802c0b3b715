"""Features, logits and answers against transformers' torch models, from the same checkpoint."""

import functools

import jax
import numpy as np
import pytest
import torch

from evojax_merge.models.ability import Common
from evojax_merge.models.family import LLAVA
from evojax_merge.models.llava.modeling import (
    features,
    forward,
)
from evojax_merge.models.llava.params import layout
from evojax_merge.models.llava.pictures import num_tokens
from evojax_merge.models.llava.vision import LlavaVision
from evojax_merge.models.request import Generate, Sight
from evojax_merge.models.seeing.abilities import gathered
from tests.llava_factory import (
    PICTURE_TOKEN,
    SIGLIP,
    Pair,
    llava_config,
    picture,
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
    "siglip": llava_config(vision=SIGLIP, vision_feature_select_strategy="full"),
    "siglip-first-patch-left-out": llava_config(vision=SIGLIP, vision_feature_layer=-1),
    "next-siglip": llava_config(
        "llava_next",
        vision={**SIGLIP, "vision_use_head": False},
        vision_feature_layer=[-1, -2],
        vision_feature_select_strategy="full",
    ),
    "tied": llava_config(text="qwen2", text_changes={"tie_word_embeddings": True}),
}


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The pair of a configuration's name."""
    return functools.cache(lambda name: Pair(tmp_path_factory.mktemp(name), CONFIGS[name]))


@pytest.fixture
def both(request, pair):
    return pair(request.param)


def all_configs():
    return pytest.mark.parametrize("both", CONFIGS, indirect=True)


PROMPT = "USER: <image>\nWhat? ASSISTANT:"
PROMPTS = [
    (PROMPT, picture((23, 40), 1)),
    ("USER: <image> or <image>? A:", picture((9, 9), 2), picture((40, 12), 3)),
    ("USER: a long prompt, and then <image>", picture((3, 90), 4)),
    ("No picture at all.",),
]


@pytest.mark.few(1)
@all_configs()
def test_features_and_logits_equal_transformers(both):
    tokens, start, tiles, index = both.prompts((PROMPT, picture((23, 40))))
    inputs = both.theirs(PROMPT, picture((23, 40)))
    np.testing.assert_array_equal(tokens, inputs["input_ids"])
    with torch.no_grad():
        outputs = both.model(**inputs)
    expected = seen_by_theirs(both, inputs)
    ours = seen_by_ours(both, tiles, index)
    assert expected.std(0).mean() > 0.1  # places differ
    np.testing.assert_allclose(ours[0], expected, **TOLERANCE)

    @jax.jit
    def run(params, tokens, features):
        return forward(both.config, params, tokens, start, features=features)[0]

    logits = run(both.params, tokens, ours)
    np.testing.assert_allclose(logits, outputs.logits, rtol=0, atol=1e-4)
    other = run(both.params, tokens, ours * 0)
    assert np.abs(other - logits)[:, -1].max() > 0.1  # the picture counts


@pytest.mark.few(2)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("both", ["next-qwen3", "llava-mistral"], indirect=True)
def test_pictures_of_all_shapes_have_the_features_of_transformers(both, size):
    inputs = both.theirs(PROMPT, picture(size))
    assert (inputs["input_ids"] == PICTURE_TOKEN).sum() == num_tokens(both.config.pictures, size)
    _, _, tiles, index = both.prompts((PROMPT, picture(size)))
    ours = seen_by_ours(both, tiles, index)[0]
    np.testing.assert_allclose(ours, seen_by_theirs(both, inputs), **TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("both", ["next-mistral", "llava-qwen3"], indirect=True)
def test_answers_equal_those_of_transformers(both):
    assert_answers_equal(both, 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("both", "beams", "penalty"),
    [
        ("llava-qwen3", 5, 1.5),
        *(("next-mistral", *way) for way in ((5, 1.5), (5, 1.0), (2, 1.5), (2, 1.0), (1, 1.5))),
    ],
    indirect=["both"],
)
def test_beams_and_penalised_answers_equal_those_of_transformers(both, beams, penalty):
    """Of each prompt alone, with picture tokens counted as those of text."""
    new, ends = 48, tuple(range(5, PICTURE_TOKEN, 12))
    request = Generate(
        new, ends, 0, image_token_id=PICTURE_TOKEN, beams=beams, repetition_penalty=penalty
    )
    answers = answered_by_ours(both, request)
    for own, (text, *images) in zip(answers, PROMPTS, strict=True):
        inputs = dict(asked(both, text, images), num_beams=beams, repetition_penalty=penalty)
        given = inputs["input_ids"].shape[1]
        answer = both.model.generate(
            **inputs, max_new_tokens=new, do_sample=False, eos_token_id=list(ends), pad_token_id=0
        )[0, given:].numpy()
        np.testing.assert_array_equal(own, np.pad(answer, (0, new - len(answer))))
    lengths = (answers != 0).sum(-1)
    assert lengths.min() < lengths.max()


@pytest.mark.slow
@all_configs()
def test_long_answers_equal_those_of_transformers(both):
    assert_answers_equal(both, 64)


def assert_answers_equal(both, new):
    answers = answered_by_ours(both, Generate(new, (), 0, image_token_id=PICTURE_TOKEN))
    for own, (text, *images) in zip(answers, PROMPTS, strict=True):
        np.testing.assert_array_equal(own, answered_by_theirs(both, text, images, new))
    assert len({tuple(own) for own in answers}) > 1


def answered_by_ours(both, request):
    """The answers to all prompts at once."""
    tokens, start, *pictures = both.prompts(*PROMPTS)
    axes = layout(both.config).population_axes()
    alone = jax.tree.map(np.expand_dims, both.params, axes)
    run = jax.jit(LLAVA.ability(request).program(both.config, request, axes))
    return np.asarray(run(alone, tokens, start, *pictures, Common(Sight(both.pixels, {})))[0])


def seen_by_ours(both, tiles, index):
    """The features of prompts, in the order of their tokens."""

    @jax.jit
    def run(params, tiles, index):
        rows = features(both.config, params, tiles.reshape(-1, *tiles.shape[2:]), both.pixels)
        rows = rows.reshape(*tiles.shape[:2], *rows.shape[1:])
        return gathered(rows, index, LlavaVision(both.config).extra(params))

    return run(both.params, tiles, index)


def seen_by_theirs(both, inputs):
    given = {k: v for k, v in inputs.items() if k in ("pixel_values", "image_sizes")}
    with torch.no_grad():
        return torch.cat(list(both.model.get_image_features(**given).pooler_output))


def answered_by_theirs(both, text, images, new):
    """The answer of transformers, which reads all that was written before at each token."""
    rest = asked(both, text, images)
    tokens = rest.pop("input_ids")
    rest.pop("attention_mask")
    length = tokens.shape[1]
    with torch.no_grad():
        for _ in range(new):
            chosen = both.model(input_ids=tokens, **rest).logits[:, -1].argmax(-1)
            tokens = torch.cat([tokens, chosen[:, None]], 1)
    return tokens[0, length:].numpy()


def asked(both, text, images):
    """What transformers gives its own model of a prompt with pictures, or without."""
    if images:
        inputs = dict(both.theirs(text, *images))
    else:
        inputs = dict(both.processor.tokenizer([text], return_tensors="pt"))
    inputs.pop("token_type_ids", None)
    return inputs
