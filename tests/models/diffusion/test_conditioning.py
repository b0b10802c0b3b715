"""Conditions equal what diffusers' pipelines compute of the same prompts."""

import functools

import jax
import numpy as np
import pytest

from evojax_merge.checkpoints.tokenizers import load_tokenizer
from evojax_merge.models.diffusion.conditioning import (
    encode,
    encode_negative,
    pooled_from,
    prompt_tokens,
)
from evojax_merge.models.diffusion.conditions import Conditioning, PromptTokens, time_ids
from tests.drawing_factory import LENGTH, make_pipeline, read_parts

PROMPTS = ["a red 3", "cat", "a prompt that is too long", ""]
ENCODERS = ("text_encoder", "text_encoder_2")
TOLERANCE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def ours(pipeline, conditioning, prompts, encode=encode):
    configs, params = read_parts(pipeline)
    encoders = {name: configs[name] for name in ENCODERS if name in configs}
    tokenizers = {
        name: getattr(pipeline, name.replace("text_encoder", "tokenizer")) for name in encoders
    }
    tokens = PromptTokens(prompt_tokens(tokenizers, prompts))
    return jax.jit(functools.partial(encode, conditioning, encoders))(params, tokens)


def theirs(pipeline, **settings):
    return pipeline.encode_prompt(
        list(PROMPTS),
        device="cpu",
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
        **settings,
    )


@pytest.mark.slow
@pytest.mark.parametrize("clip_skip", [None, 1])
def test_conditions_of_sdxl(clip_skip):
    pipeline = make_pipeline("sdxl")
    settings = {"negative_prompt": ["dog"] * 4, "clip_skip": clip_skip}
    context, negative, pooled, negative_pooled = theirs(pipeline, **settings)
    conditioning = Conditioning("last", clip_skip or 0)
    found = ours(pipeline, conditioning, PROMPTS)
    np.testing.assert_allclose(found.context, context.detach(), **TOLERANCE)
    np.testing.assert_allclose(found.pooled, pooled.detach(), **TOLERANCE)
    found = ours(pipeline, conditioning, ["dog"], encode_negative)
    np.testing.assert_allclose(found.context, negative[:1].detach(), **TOLERANCE)
    np.testing.assert_allclose(found.pooled, negative_pooled[:1].detach(), **TOLERANCE)


def test_conditions_of_stable_diffusion():
    pipeline = make_pipeline("sd")
    context, negative = theirs(pipeline)
    found = ours(pipeline, Conditioning(), PROMPTS)
    np.testing.assert_allclose(found.context, context.detach(), **TOLERANCE)
    assert found.pooled is None
    np.testing.assert_allclose(found.context[-1:], negative[:1].detach(), **TOLERANCE)


@pytest.mark.slow
def test_the_final_norm_follows_the_last_layer_that_is_not_skipped():
    pipeline = make_pipeline("sd")
    ids = pipeline.tokenizer(PROMPTS, padding="max_length", truncation=True, return_tensors="pt")
    encoder = pipeline.text_encoder
    states = encoder(ids.input_ids, output_hidden_states=True).hidden_states[-2]
    expected = encoder.final_layer_norm(states).detach()
    found = ours(pipeline, Conditioning(clip_skip=1), PROMPTS)
    np.testing.assert_allclose(found.context, expected, **TOLERANCE)
    found = ours(pipeline, Conditioning(clip_skip=1), [""], encode_negative)
    np.testing.assert_allclose(found.context, theirs(pipeline)[1][:1].detach(), **TOLERANCE)


@pytest.mark.slow
def test_pooled_features_are_of_the_encoder_that_is_asked_for():
    pipeline = make_pipeline("sdxl", projected_first=True)
    _, _, pooled, _ = theirs(pipeline)
    first = ours(pipeline, Conditioning("first_projected"), PROMPTS).pooled
    last = ours(pipeline, Conditioning("last"), PROMPTS).pooled
    np.testing.assert_allclose(first, pooled.detach(), **TOLERANCE)
    assert np.abs(first - last).max() > 0.1


def test_an_encoder_without_projection_is_refused():
    configs, _ = read_parts(make_pipeline("sd"))
    with pytest.raises(ValueError, match="text_encoder has no text_projection"):
        pooled_from("first_projected", {"text_encoder": configs["text_encoder"]})


def test_tokens_are_those_of_the_pipeline(tmp_path):
    make_pipeline("sdxl").save_pretrained(tmp_path)
    tokenizers = {
        name: load_tokenizer(tmp_path / name.replace("text_encoder", "tokenizer"))
        for name in ENCODERS
    }
    warnings = []
    found = prompt_tokens(tokenizers, PROMPTS, warnings.append)
    pipeline = make_pipeline("sdxl")
    for name, own in zip(ENCODERS, (pipeline.tokenizer, pipeline.tokenizer_2), strict=True):
        expected = own(PROMPTS, padding="max_length", max_length=LENGTH, truncation=True)
        np.testing.assert_array_equal(found[name], expected["input_ids"])
    assert found["text_encoder_2"][1, -1] == 0
    assert found["text_encoder"][1, -1] != 0
    assert len(warnings) == 1
    assert "1 of 4 prompts are longer than the 12 tokens" in warnings[0]
    assert "'a prompt that is too long'" in warnings[0]


def test_time_ids_are_heights_before_widths():
    assert time_ids(512, 768).tolist() == [512, 768, 0, 0, 512, 768]
    assert time_ids(8, 8, original=(4, 5), crop=(1, 2), target=(6, 7)).tolist() == [
        4,
        5,
        1,
        2,
        6,
        7,
    ]


def test_a_pipeline_says_whether_an_empty_prompt_is_zeros():
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": False}
    assert Conditioning.from_hf(index, pooled="last") == Conditioning("last", 0, zeros=False)
    assert Conditioning.from_hf({"_class_name": "StableDiffusionPipeline"}) == Conditioning()
    with pytest.raises(ValueError, match="pooled must be first_projected or last"):
        Conditioning.from_hf(index, pooled="first")
    with pytest.raises(ValueError, match="clip_skip"):
        Conditioning.from_hf(index, clip_skip=-1)
