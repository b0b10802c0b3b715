"""What a LLaVA does with pictures, whoever sees them and whatever else is done at once."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models.ability import Common
from evojax_merge.models.family import DECODER, LLAVA
from evojax_merge.models.llava.modeling import features
from evojax_merge.models.llava.params import layout
from evojax_merge.models.request import Generate, Loglikelihood, Sight
from evojax_merge.models.seeing.abilities import gathered
from evojax_merge.params.tree import flatten
from tests.llava_factory import PICTURE_TOKEN, Pair, llava_config, picture

NEW = 6
COMMON = "USER: "
PROMPTS = [
    (COMMON + "<image>\nWhat? ASSISTANT:", picture((23, 40), 1)),
    (COMMON + "<image> or <image>? A:", picture((9, 9), 2), picture((40, 12), 3)),
    (COMMON + "No picture.",),
    (COMMON + "a longer one, and then <image> Answer:", picture((3, 90), 4)),
    (COMMON + "<image> 12345", picture((16, 16), 5)),
]
GENERATE = Generate(NEW, (), 0, image_token_id=PICTURE_TOKEN)
MEASURE = Loglikelihood(len(COMMON), PICTURE_TOKEN)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    hf_config = llava_config("llava_next", text_changes={"num_hidden_layers": 1})
    return Pair(tmp_path_factory.mktemp("next"), hf_config)


@pytest.fixture(scope="module")
def batch(pair):
    """Tokens, starts, tiles and index of all prompts."""
    return pair.prompts(*PROMPTS)


@pytest.fixture(scope="module")
def population(pair):
    """Three candidates that differ in every leaf."""
    rng = np.random.default_rng(0)

    def noisy(leaf):
        return (np.asarray(leaf) * (1 + 0.3 * rng.standard_normal(leaf.shape))).astype(leaf.dtype)

    return [pair.params] + [jax.tree.map(noisy, pair.params) for _ in range(2)]


def stacked(config, models):
    axes = layout(config).population_axes()
    return jax.tree.map(lambda axis, *leaves: np.stack(leaves, axis), axes, *models)


@functools.cache
def compiled(config, request):
    axes = layout(config).population_axes()
    return jax.jit(LLAVA.ability(request).program(config, request, axes))


def run(config, request, params, *fields):
    return np.asarray(compiled(config, request)(params, *fields))


def sight(pair, params=None):
    return Common(Sight(pair.pixels, params or {}))


@pytest.fixture(scope="module")
def answers(pair, batch, population):
    """What each candidate answers when it is alone."""
    alone = functools.partial(run, pair.config, GENERATE)
    return [alone(stacked(pair.config, [model]), *batch, sight(pair))[0] for model in population]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"slots": 3, "prefix": len(COMMON)}, {}, {"slots": 2}, {"prefix": len(COMMON)}]
)
def test_a_population_answers_what_its_candidates_answer_alone(
    pair, batch, population, answers, changes
):
    """Prompts that wait, and those with a common beginning, keep their pictures."""
    request = dataclasses.replace(GENERATE, **changes)
    found = run(pair.config, request, stacked(pair.config, population), *batch, sight(pair))
    np.testing.assert_array_equal(found, answers)
    assert len({own.tobytes() for own in answers}) == 3


@pytest.fixture(scope="module")
def marked(batch):
    """The fields of a batch whose last tokens are marked, without what candidates see with."""
    tokens, start, tiles, index = batch
    target = np.zeros(tokens.shape, bool)
    target[:, -5:] = True
    return tokens, start, target & (tokens != PICTURE_TOKEN), tiles, index


@pytest.fixture(scope="module")
def likelihoods(pair, marked, population):
    """What the marked tokens have for each candidate."""
    return run(pair.config, MEASURE, stacked(pair.config, population), *marked, sight(pair))


@pytest.mark.slow
def test_a_decoder_measures_the_same_with_features_that_others_computed(pair, marked, likelihoods):
    *fields, tiles, index = marked

    @jax.jit
    def see(params):
        flat = tiles.reshape(-1, *tiles.shape[2:])
        rows = features(pair.config, params, flat, pair.pixels)
        rows = rows.reshape(*tiles.shape[:2], *rows.shape[1:])
        return gathered(rows, index, params["projector"]["image_newline"])

    config, params = pair.config.text, pair.params["language_model"]
    axes = DECODER.layout(config).population_axes()
    alone = jax.tree.map(np.expand_dims, params, axes)
    program = jax.jit(DECODER.ability(MEASURE).program(config, MEASURE, axes))
    found = program(alone, *fields, see(pair.params))[0]
    np.testing.assert_allclose(found, likelihoods[0], rtol=1e-5, atol=1e-4)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "parts",
    [
        ("vision_tower", "projector"),
        ("projector", "language_model"),
        ("projector",),
        ("vision_tower",),
        ("vision_tower", "language_model"),
        ("language_model",),
    ],
)
def test_parts_that_are_the_same_for_all_are_read_beside_the_pictures(
    pair, marked, population, likelihoods, parts
):
    config = LLAVA.only(pair.config, parts)
    rest = {name: part for name, part in pair.params.items() if name not in parts}
    models = [{name: model[name] for name in parts} for model in population]
    found = run(config, MEASURE, stacked(config, models), *marked, sight(pair, rest))
    whole = stacked(pair.config, [{**rest, **model} for model in models])
    expected = run(pair.config, MEASURE, whole, *marked, sight(pair))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found[0], likelihoods[0], rtol=1e-5, atol=1e-4)
    assert np.abs(found[1:] - found[0]).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("part", ["vision_tower", "language_model"])
def test_answers_are_those_of_the_whole_where_one_part_has_candidates(
    pair, batch, population, part
):
    config = LLAVA.only(pair.config, [part])
    rest = {name: own for name, own in pair.params.items() if name != part}
    models = [{part: model[part]} for model in population]
    found = run(config, GENERATE, stacked(config, models), *batch, sight(pair, rest))
    whole = stacked(pair.config, [{**rest, **model} for model in models])
    expected = run(pair.config, GENERATE, whole, *batch, sight(pair))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_prompts_without_pictures_are_read_by_the_language_model_alone(pair, population):
    request = dataclasses.replace(GENERATE, image_token_id=None)
    tokens, start, *_ = pair.prompts(("No picture.",), ("None here either",))
    config = pair.config.text
    axes = DECODER.layout(config).population_axes()
    languages = [model["language_model"] for model in population]
    several = jax.tree.map(lambda axis, *leaves: np.stack(leaves, axis), axes, *languages)
    expected = jax.jit(DECODER.ability(request).program(config, request, axes))(
        several, tokens, start
    )
    found = run(pair.config, request, stacked(pair.config, population), tokens, start)
    np.testing.assert_array_equal(found, expected)


def test_parts_that_no_text_can_measure_are_refused(pair):
    config = LLAVA.only(pair.config, ["projector"])
    request = dataclasses.replace(GENERATE, image_token_id=None)
    params = stacked(config, [{"projector": pair.params["projector"]}])
    tokens, start, *_ = pair.prompts(("No picture.",))
    with pytest.raises(ValueError, match=r"add language_model to model\.parts"):
        run(config, request, params, tokens, start)


def test_likelihoods_depend_on_the_pictures_of_a_row_alone(pair, marked, population, likelihoods):
    *fields, tiles, index = marked
    blind = (*fields, np.zeros_like(tiles), index, sight(pair))
    other = run(pair.config, MEASURE, stacked(pair.config, population), *blind)
    changed, seen = np.abs(likelihoods - other).max(axis=0), (fields[0] == PICTURE_TOKEN).any(-1)
    assert (changed[seen] > 1e-3).all()
    np.testing.assert_allclose(changed[~seen], 0, atol=1e-5)


@pytest.mark.slow
def test_likelihoods_are_those_of_the_logits(pair, marked, population, likelihoods):
    fields, request = (*marked, sight(pair)), Loglikelihood(image_token_id=PICTURE_TOKEN)
    predict = LLAVA.ability(request).predict(pair.config, request)
    logits, counts = jax.jit(predict)(population[1], *fields)
    logs = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(logs, fields[0][:, 1:, None], axis=-1)[..., 0]
    np.testing.assert_allclose(likelihoods[1], (chosen * counts).sum(-1), rtol=1e-5, atol=1e-4)
    same = run(pair.config, request, stacked(pair.config, population), *fields)
    np.testing.assert_allclose(likelihoods, same, rtol=1e-5, atol=1e-4)  # read with the prefix


@pytest.mark.slow
def test_predictions_depend_on_all_that_is_alive_in_the_tower(pair, batch):
    """The last layer and the norm after it have no effect, and no gradient."""
    predict = LLAVA.ability(GENERATE).predict(pair.config, GENERATE)
    fields = (*(field[:2] for field in batch), sight(pair))
    loss = jax.grad(lambda params: predict(params, *fields)[0].var())
    gradient = flatten(jax.jit(loss)(pair.params))
    tower = {path: leaf for path, leaf in gradient.items() if path.startswith("vision_tower")}
    layers = {path: leaf for path, leaf in tower.items() if ".layers." in path}
    # A key's bias shifts every score of a query alike, which the softmax takes away.
    alive = [leaf for path, leaf in layers.items() if "k_proj.bias" not in path]
    assert all(jnp.abs(leaf[-2]).max() > 0 for leaf in alive)
    assert not any(leaf[-1].any() for leaf in layers.values())
    assert not tower["vision_tower.post_layernorm.weight"].any()
    assert jnp.abs(gradient["projector.image_newline"]).max() > 0


def test_pictures_take_memory_and_fewer_prompts_at_a_time_take_less(pair, batch):
    ability = LLAVA.ability(GENERATE)
    tokens, start, tiles, index = (np.repeat(field, 20, axis=0) for field in batch)
    fields = (tokens, start, tiles, index, sight(pair))

    def needed(**changes):
        request = dataclasses.replace(GENERATE, **changes)
        return ability.bytes(pair.config, request, fields, 4)

    blind = dataclasses.replace(GENERATE, image_token_id=None)
    without = ability.bytes(pair.config, blind, (tokens, start), 4)
    hidden, positions = pair.config.text.hidden_size, pair.config.vision.num_positions
    seen = 4 * hidden * (index.size + len(tiles) * tiles.shape[1] * positions)
    assert needed() > without + seen
    assert needed(slots=50) < needed()
    assert ability.smaller(GENERATE, [fields]).slots == 50
    decoder = DECODER.ability(GENERATE)
    features_ = np.zeros((*index.shape, hidden), np.float32)
    only_read = decoder.bytes(pair.config.text, GENERATE, (tokens, start, features_), 4)
    assert without < only_read < needed()


@pytest.mark.slow
def test_where_the_tower_is_frozen_nothing_of_it_is_alive_while_prompts_are_read(pair):
    """The program takes no more memory than one of text alone, but for the features."""
    config, rows, length = pair.config, 8, 24
    index = jax.ShapeDtypeStruct((rows, 16), jnp.int32)
    tiles = jax.ShapeDtypeStruct((rows, 64, 3, 16, 16), jnp.uint8)
    seen = jax.ShapeDtypeStruct((rows, 16, config.text.hidden_size), jnp.float32)
    tokens, start = (jax.ShapeDtypeStruct(s, jnp.int32) for s in ((rows, length), (rows,)))

    def scratch(family, config, request, *fields):
        axes = family.layout(config).population_axes()
        params = jax.tree.map(
            lambda leaf, axis: jax.ShapeDtypeStruct(
                (*leaf.shape[:axis], 1, *leaf.shape[axis:]), leaf.dtype
            ),
            family.abstract_params(config),
            axes,
        )
        program = family.ability(request).program(config, request, axes)
        compiled = jax.jit(program).lower(params, *fields).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    text = dataclasses.replace(GENERATE, image_token_id=None)
    sees = scratch(LLAVA, config, GENERATE, tokens, start, tiles, index, sight(pair))
    frozen = scratch(DECODER, config.text, GENERATE, tokens, start, seen)
    blind = scratch(DECODER, config.text, text, tokens, start)
    embeddings = rows * length * config.text.hidden_size * 4
    assert sees > 2 * frozen
    assert frozen < blind + 3 * embeddings


def test_evidence_is_refused_with_a_way_out():
    for request in (GENERATE, Loglikelihood()):
        with pytest.raises(ValueError, match=r"model.parts=\[language_model\]"):
            LLAVA.ability(request).rows((), np.zeros(0))


def test_features_have_the_type_of_the_parameters(pair, batch):
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), pair.params)
    _, _, tiles, _ = batch
    found = jax.eval_shape(functools.partial(features, pair.config), half, tiles[0], pair.pixels)
    assert found.dtype == jnp.bfloat16
