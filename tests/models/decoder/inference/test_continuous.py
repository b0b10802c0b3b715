"""Answers that take turns in a few slots are the answers that are written together."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models.decoder import cache
from evojax_merge.models.decoder.inference import greedy
from evojax_merge.models.decoder.inference.generation import make_generate
from evojax_merge.models.decoder.path import PATH, PATH_AXES, make_path
from tests.compilations import count_compilations
from tests.models.decoder.inference.test_generation import alone, stacked
from tests.models.decoder.test_modeling import FEW_CONFIGS, make

PAD, NEW, PROMPTS, LENGTH = 0, 20, 13, 9
EOS = tuple(range(5, 64, 6))
"""So many that answers have from a few tokens to `NEW`."""


@pytest.fixture(scope="module", autouse=True)
def highest_precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(3)
    start = rng.integers(0, LENGTH, PROMPTS).astype(np.int32)
    return rng.integers(3, 64, (PROMPTS, LENGTH)).astype(np.int32), start


def generate(config, params, prompts, eos_ids=EOS, new=NEW, **options):
    made = make_generate(config, max_new_tokens=new, eos_ids=eos_ids, pad_id=PAD, **options)
    return np.asarray(jax.jit(made)(params, *prompts))


@functools.cache
def models(name):
    made = [make(name, seed) for seed in range(3)]
    return made[0][0], [params for _, params in made]


def paths(params):
    """Three paths through one pool, with layers repeated, and where their axes stand."""
    made = [
        make_path(np.array([0, 1, 2]), hops=5),
        make_path(np.array([0, 1, 1, 2, 2]), np.linspace(0.8, 1.2, 5), hops=5),
        make_path(np.array([2, 0]), hops=5),
    ]
    together = jax.tree.map(lambda *parts: jnp.stack(parts), *made)
    axes = {**jax.tree.map(lambda leaf: None, params), PATH: PATH_AXES}
    return {**params, PATH: together._replace(steps=together.length.max())}, axes


@pytest.mark.few(1)
@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("name", FEW_CONFIGS)
def test_answers_are_those_written_together(name, size, prompts):
    config, params = models(name)
    population = alone(params[0]) if size == 1 else stacked(*params)
    together = generate(config, population, prompts)
    lengths = (together != PAD).sum(-1)
    assert 2 * lengths.min() < lengths.max()
    found = generate(config, population, prompts, slots=5, refill=2)
    np.testing.assert_array_equal(found, together)


@pytest.mark.slow
@pytest.mark.parametrize("shallow", [True, False])
def test_stacked_caches_take_prompts_too(shallow, prompts, monkeypatch):
    config, params = models("mistral")
    monkeypatch.setattr(cache, "WRITTEN_OUT", 8 if shallow else 0)
    together = generate(config, stacked(*params), prompts)
    np.testing.assert_array_equal(
        generate(config, stacked(*params), prompts, slots=4, refill=4), together
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("llama", marks=pytest.mark.slow), "mistral"])
def test_paths_answer_in_turn(name, prompts):
    config, params = models(name)
    population, axes = paths(params[0])
    together = generate(config, population, prompts, axes=axes)
    found = generate(config, population, prompts, axes=axes, slots=4)
    np.testing.assert_array_equal(found, together)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("eos_ids", "new"),
    [
        pytest.param((), 3, marks=pytest.mark.slow),
        (tuple(range(64)), NEW),
        pytest.param(EOS, 1, marks=pytest.mark.slow),
    ],
    ids=["none ends", "all end at their first token", "one token"],
)
def test_the_shortest_and_the_longest_answers(eos_ids, new, prompts):
    config, params = models("llama")
    run = functools.partial(generate, config, stacked(*params), prompts, eos_ids, new)
    np.testing.assert_array_equal(run(slots=4), run())


@pytest.mark.slow
def test_where_the_base_of_positions_grows_idle_slots_do_not_matter(prompts):
    config, params = models("llama")
    rope = dataclasses.replace(config.rope, kind="dynamic", factor=4.0)
    config = dataclasses.replace(config, rope=rope, max_position_embeddings=LENGTH + NEW)
    together = generate(config, alone(params[0]), prompts)
    np.testing.assert_array_equal(
        generate(config, alone(params[0]), prompts, slots=4, refill=3), together
    )


@pytest.mark.slow
def test_a_long_answer_does_not_hold_the_others(prompts):
    """Decode steps with four slots, against batches of four one after another."""
    config, params = models("llama")
    population = alone(params[0])
    lengths = (generate(config, population, prompts)[0] != PAD).sum(-1)
    one_by_one = sum(lengths[first : first + 4].max() - 1 for first in range(0, PROMPTS, 4))
    taken = _steps(config, population, prompts, slots=4, refill=1)
    assert taken < one_by_one
    assert taken >= (lengths.sum() - PROMPTS) / 4


def _steps(config, params, prompts, **options) -> int:
    taken = []
    original = greedy.Greedy.decode

    def counted(*args):
        jax.debug.callback(lambda: taken.append(1))
        return original(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(greedy.Greedy, "decode", counted)
        generate(config, params, prompts, **options)
        jax.effects_barrier()
    return len(taken)


@pytest.mark.slow
def test_other_models_and_paths_compile_nothing(prompts):
    config, params = models("llama")
    made = make_generate(config, max_new_tokens=NEW, eos_ids=EOS, pad_id=PAD, slots=4)
    run = jax.jit(made)
    population = [stacked(*params), stacked(*reversed(params))]
    jax.block_until_ready(run(population[0], *prompts))
    with count_compilations() as compilations:
        jax.block_until_ready(run(population[1], *prompts))
    assert compilations.count == 0
