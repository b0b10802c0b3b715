import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.clip.modeling import (
    image_features,
    image_states,
    init_params,
    normalised,
    similarity,
    text_features,
    text_states,
)
from evojax_merge.models.clip.params import layout
from evojax_merge.params.tree import flatten, unflatten
from tests.clip_factory import EOS, LENGTH, VOCAB, clip_config, pictures, texts, tower_config

CONFIG = CLIPConfig.from_hf(clip_config())
TEXTS, PICTURES = jnp.asarray(texts()), jnp.asarray(pictures())
TOWERS = {"text": (text_features, TEXTS), "vision": (image_features, PICTURES)}


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


def random_params(seed=0, config=CONFIG):
    """Parameters that are all random, norms and biases included."""
    rng = np.random.default_rng(seed)
    leaves = {
        path: jnp.asarray("norm.weight" in path) + 0.2 * rng.standard_normal(shape)
        for path, shape in layout(config).shapes.items()
    }
    return unflatten({path: leaf.astype(jnp.float32) for path, leaf in leaves.items()})


@pytest.mark.slow
@pytest.mark.parametrize("tower", TOWERS)
def test_a_population_is_what_its_candidates_are_one_by_one(tower):
    features, inputs = TOWERS[tower]
    candidates = [random_params(seed) for seed in range(3)]
    # The scan over layers consumes the leading axis of stacked leaves, so the population is second.
    axes = layout(CONFIG).population_axes()
    population = jax.tree.map(lambda axis, *leaves: jnp.stack(leaves, axis), axes, *candidates)
    step = functools.partial(features, CONFIG)
    together = jax.jit(jax.vmap(step, in_axes=(axes, None)))(population, inputs)
    alone = jax.jit(step)
    for candidate, found in zip(candidates, together, strict=True):
        np.testing.assert_allclose(found, alone(candidate, inputs), atol=1e-5)
    np.testing.assert_allclose(together[0], step(candidates[0], inputs), atol=1e-5)  # not compiled
    assert np.abs(together[0] - together[1]).max() > 0.1


@pytest.mark.parametrize("tower", TOWERS)
def test_the_other_branch_of_the_tree_may_be_absent(tower):
    features, inputs = TOWERS[tower]
    params = random_params()
    alone = jax.jit(functools.partial(features, CONFIG))({tower: params[tower]}, inputs)
    assert alone.shape == (len(inputs), 20)


def test_a_position_reads_itself_and_what_stands_before_it():
    params = random_params()
    tokens = jnp.asarray(np.random.default_rng(3).integers(3, VOCAB - 2, (1, LENGTH)))

    def states(table):
        changed = params["text"] | {"embeddings": {**params["text"]["embeddings"]}}
        changed["embeddings"]["position_embedding"] = {"weight": table}
        return text_states(CONFIG, {"text": changed}, tokens, -1)[0]

    table = params["text"]["embeddings"]["position_embedding"]["weight"]
    # Of the position in a column on the position in a row.
    influence = jnp.abs(jax.jit(jax.jacrev(states))(table)).sum(axis=(1, 3))
    np.testing.assert_array_equal(influence > 0, np.tri(LENGTH, dtype=bool))


@pytest.mark.parametrize("eos", [EOS, 2])
def test_what_stands_after_the_first_end_of_a_text_does_not_matter(eos):
    config = CLIPConfig.from_hf(clip_config({"eos_token_id": eos}))
    features = functools.partial(jax.jit(functools.partial(text_features, config)), random_params())
    tokens = TEXTS[:2]
    after = tokens.at[0, 6:].set(7).at[1, 4:].set(EOS)
    found = features(tokens)
    np.testing.assert_allclose(features(after), found, atol=1e-6)
    before = tokens.at[:, 1].set(5)
    assert np.abs(features(before) - found).max(1).min() > 1e-3


@pytest.mark.slow
def test_layers_after_the_one_asked_for_do_not_count():
    """LLaVA reads the second last state: the last layer and the norm after it are dead weights."""
    params = random_params()
    loss = jax.grad(lambda p: image_states(CONFIG, p, PICTURES, -2).sum() ** 2)
    gradient = flatten(jax.jit(loss)(params))
    layers = {path: leaf for path, leaf in gradient.items() if path.startswith("vision.layers")}
    # A key's bias shifts every score of a query alike, which the softmax takes away.
    alive = [leaf for path, leaf in layers.items() if "k_proj.bias" not in path]
    assert all(jnp.abs(leaf[-2]).max() > 0 for leaf in alive)
    assert all(not leaf[-1].any() for leaf in layers.values())
    assert not gradient["vision.post_layernorm.weight"].any()


@pytest.mark.parametrize("tower", TOWERS)
def test_the_program_does_not_grow_with_the_depth(tower):
    features, inputs = TOWERS[tower]

    def lines(depth):
        config = CLIPConfig.from_hf(tower_config(tower, num_hidden_layers=depth))
        lowered = jax.jit(functools.partial(features, config)).lower(
            jax.eval_shape(lambda: init_params(config, jax.random.key(0))), inputs
        )
        return len(lowered.as_text().splitlines())

    assert lines(3) == lines(30)


def test_features_have_the_type_of_the_parameters_and_similarity_is_float32():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), random_params())

    def everything(params):
        words = text_features(CONFIG, params, TEXTS)
        views = image_features(CONFIG, params, PICTURES)
        states = image_states(CONFIG, params, PICTURES, 0)
        return words, views, states, similarity(views, words, params["logit_scale"])

    words, views, states, logits = jax.eval_shape(everything, params)
    assert words.dtype == views.dtype == states.dtype == jnp.bfloat16
    assert logits.dtype == jnp.float32
    assert logits.shape == (len(views), len(words))


def test_a_vector_of_zeros_is_similar_to_nothing():
    vectors = jnp.asarray([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(normalised(vectors), [[0, 0], [0.6, 0.8]], atol=1e-6)
    gradient = jax.grad(lambda x: similarity(x, vectors, jnp.float32(0)).sum())(vectors)
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: text_features(CONFIG, p, jnp.zeros((1, 13), int)), "13 tokens are too long"),
        (
            lambda p: image_features(CONFIG, p, jnp.asarray(pictures(20))),
            r"\(3, 20, 20\).*which is \(3, 16, 16",
        ),
        (
            lambda p: image_features(CONFIG, p, PICTURES.transpose(0, 2, 3, 1)),
            r"shape \(16, 16, 3\)",
        ),
        (lambda p: image_states(CONFIG, p, PICTURES, 5), "layer 5 does not exist.* 0 to 4"),
        (lambda p: text_states(CONFIG, p, TEXTS, -5), "layer -5 does not exist.* to -4"),
        (
            lambda p: image_features(CLIPConfig(CONFIG.text, None), p, PICTURES),
            "no vision tower",
        ),
        (lambda p: text_states(CLIPConfig(None, CONFIG.vision), p, TEXTS, 0), "no text tower"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call(random_params())


def test_pictures_that_no_processor_has_prepared_are_refused():
    """In a run that checks annotations, they are what refuses them."""
    with pytest.raises((ValueError, TypeError), match=r"uint8|u8"):
        image_features(CONFIG, random_params(), jnp.zeros((1, 3, 16, 16), jnp.uint8))
