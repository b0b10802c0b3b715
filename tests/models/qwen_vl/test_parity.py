"""Features, logits and answers against transformers' torch models, from the same checkpoint."""

import functools

import jax
import numpy as np
import pytest
import torch

from evojax_merge.models.ability import Common
from evojax_merge.models.family import QWEN_VL
from evojax_merge.models.qwen_vl.modeling import forward
from evojax_merge.models.qwen_vl.params import layout
from evojax_merge.models.request import Generate, Sight
from evojax_merge.models.seeing.abilities import gathered
from tests.llava_factory import picture
from tests.qwen_vl_factory import PICTURE_TOKEN, Pair, qwen_vl_config

TOLERANCE = {"rtol": 0, "atol": 2e-5}
SIZES = ((16, 16), (1, 1), (3, 90), (90, 3), (23, 40), (8, 24))
PROMPT = "USER: <image>What? ASSISTANT:"
WINDOWED = {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}

CONFIGS = {
    "hub": qwen_vl_config(),
    "tied": qwen_vl_config(tie_word_embeddings=True),
    "only-windows": qwen_vl_config(vision={"fullatt_block_indexes": []}),
    "large-windows": qwen_vl_config(
        vision={"window_size": 3 * 2 * 4 + 1, "hidden_act": "gelu_pytorch_tanh"}
    ),
    "no-windows": qwen_vl_config(vision={"fullatt_block_indexes": [0, 1, 2, 3]}),
    "sliding": qwen_vl_config(WINDOWED),
    "yarn": qwen_vl_config({"rope_scaling": {**YARN, "mrope_section": [2, 1, 1]}}),
}
SPELLINGS = {"tied": "memory", "yarn": "memory"}


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The pair of a configuration's name."""

    def made(name):
        folder = tmp_path_factory.mktemp(name)
        return Pair(folder, CONFIGS[name], SPELLINGS.get(name, "hub"))

    return functools.cache(made)


@pytest.fixture
def both(request, pair):
    return pair(request.param)


def all_configs():
    return pytest.mark.parametrize("both", CONFIGS, indirect=True)


@pytest.mark.few(1)
@all_configs()
def test_features_and_logits_equal_transformers(both):
    prompts = [
        (PROMPT, picture((23, 40))),
        ("USER: <image> or <image>? A:", picture((9, 9), 2), picture((40, 12), 3)),
        ("<image>", picture((16, 30), 4)),
    ]
    tokens, start, *seen, shift = both.prompts(*prompts)
    inputs = both.theirs(*prompts)
    with torch.no_grad():
        outputs = both.model(**inputs)
    ours = seen_by_ours(both, *seen)
    place = tokens == PICTURE_TOKEN
    found = np.concatenate([o[:n] for o, n in zip(ours, place.sum(-1), strict=True)])
    expected = seen_by_theirs(both, inputs)
    assert expected.std(0).mean() > 0.1  # places differ
    np.testing.assert_allclose(found, expected, **TOLERANCE)

    @jax.jit
    def run(params, tokens, features, shift):
        seen = {"features": features, "shift": shift}
        return forward(both.config, params, tokens, start, **seen)[0]

    logits, real = run(both.params, tokens, ours, shift), inputs["attention_mask"].numpy() == 1
    expected = outputs.logits.numpy()
    np.testing.assert_allclose(logits[real], expected[real], rtol=0, atol=1e-4)
    for other in (
        run(both.params, tokens, ours * 0, shift),
        run(both.params, tokens, ours, 0 * shift),
    ):
        assert np.abs(other - logits)[:, -1].max() > 0.01  # pictures count, and where they stand


@pytest.mark.few(1)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("both", ["hub", "large-windows"], indirect=True)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pictures_of_all_shapes_have_the_features_of_transformers(both, mode, size):
    image = picture(size).convert(mode)
    inputs = both.theirs((PROMPT, image))
    _, _, *seen, _ = both.prompts((PROMPT, image))
    ours = seen_by_ours(both, *seen)[0]
    np.testing.assert_allclose(ours, seen_by_theirs(both, inputs), **TOLERANCE)


@pytest.mark.slow
def test_text_alone_is_read_as_by_transformers(pair):
    both = pair("hub")
    inputs = both.theirs(("No picture at all.",))
    tokens = inputs["input_ids"].numpy().astype(np.int32)
    logits, _ = forward(both.config, both.params, tokens, np.zeros(1, np.int32))
    with torch.no_grad():
        expected = both.model(**inputs).logits
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@all_configs()
def test_answers_equal_those_of_transformers(both):
    new = 64
    prompts = [
        (PROMPT, picture((23, 40), 1)),
        ("USER: <image> or <image>? A:", picture((9, 9), 2), picture((40, 12), 3)),
        ("USER: a long prompt, and then <image>", picture((3, 90), 4)),
        ("No picture at all.",),
    ]
    tokens, start, *seen, shift = both.prompts(*prompts)
    request = Generate(new, (), 0, image_token_id=PICTURE_TOKEN)
    axes = layout(both.config).population_axes()
    alone = jax.tree.map(np.expand_dims, both.params, axes)
    run = jax.jit(QWEN_VL.ability(request).program(both.config, request, axes))
    answers = run(alone, tokens, start, *seen, Common(Sight(both.pixels, {})), shift)[0]
    for own, prompt in zip(answers, prompts, strict=True):
        np.testing.assert_array_equal(own, answered_by_theirs(both, prompt, new))
    assert len({tuple(np.asarray(own)) for own in answers}) > 1


@pytest.mark.slow
def test_a_population_sees_what_its_candidates_see_alone(pair):
    both = pair("hub")
    _, _, *seen, _ = both.prompts((PROMPT, picture((23, 40))), ("<image>", picture((9, 60))))
    models = [both.params, jax.tree.map(lambda leaf: 0.9 * leaf, both.params)]
    several = jax.tree.map(lambda *leaves: np.stack(leaves), *models)
    see = jax.jit(lambda params: both.vision.features(params, both.pixels, *seen[:2]))
    for own, found in zip(models, jax.vmap(see)(several), strict=True):
        np.testing.assert_allclose(found, see(own), **TOLERANCE)


@pytest.mark.slow
def test_beams_equal_those_of_transformers(pair):
    both, new = pair("hub"), 12
    prompts = [
        (PROMPT, picture((23, 40), 1)),
        ("A <image> or <image>?", *[picture((9, 30), 2)] * 2),
    ]
    tokens, start, *seen, shift = both.prompts(*prompts)
    kind = {"beams": 3, "repetition_penalty": 1.3}
    request = Generate(new, (), 0, image_token_id=PICTURE_TOKEN, **kind)
    axes = layout(both.config).population_axes()
    alone = jax.tree.map(np.expand_dims, both.params, axes)
    run = jax.jit(QWEN_VL.ability(request).program(both.config, request, axes))
    answers = run(alone, tokens, start, *seen, Common(Sight(both.pixels, {})), shift)[0]
    theirs = {"num_beams": 3, "repetition_penalty": 1.3}
    for own, prompt in zip(answers, prompts, strict=True):
        np.testing.assert_array_equal(own, answered_by_theirs(both, prompt, new, **theirs))


def seen_by_ours(both, tiles, where, rows):
    """The features of prompts, in the order of their tokens."""

    @jax.jit
    def run(params, tiles, where, rows):
        return gathered(both.vision.features(params, both.pixels, tiles, where), rows)

    return run(both.params, tiles, where, rows)


def seen_by_theirs(both, inputs):
    given = {name: inputs[name] for name in ("pixel_values", "image_grid_thw")}
    with torch.no_grad():
        return torch.cat(list(both.model.get_image_features(**given).pooler_output)).numpy()


def answered_by_theirs(both, prompt, new, **kind):
    """The answer of transformers, as it generates it."""
    inputs = both.theirs(prompt)
    with torch.no_grad():
        answer = both.model.generate(**inputs, max_new_tokens=new, do_sample=False, **kind)
    return answer[0, inputs["input_ids"].shape[1] :].numpy()
