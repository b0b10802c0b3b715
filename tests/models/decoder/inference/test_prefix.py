"""What all prompts begin with, read once, gives what it gives when each prompt reads it."""

import jax
import numpy as np
import pytest

from evojax_merge.fitness import GenerationTask, MultipleChoiceTask
from evojax_merge.fitness.encoder import shared_prefix
from evojax_merge.models.decoder import cache
from evojax_merge.models.decoder.inference.scoring import make_loglikelihood
from tests.fitness.conftest import language_model, write  # noqa: F401
from tests.models.decoder.inference.test_continuous import generate, models, paths
from tests.models.decoder.inference.test_generation import alone, stacked
from tests.models.decoder.test_modeling import FEW_CONFIGS

PREFIX, LENGTH, ROWS = 6, 14, 5


@pytest.fixture(scope="module", autouse=True)
def highest_precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def prompts():
    """Rows of different length that begin alike, with something else in the padding."""
    rng = np.random.default_rng(5)
    start = np.array([3, 0, 7, 1, 5], np.int32)
    tokens = rng.integers(3, 64, (ROWS, LENGTH)).astype(np.int32)
    first = rng.integers(3, 64, PREFIX)
    for row, begin in zip(tokens, start, strict=True):
        row[begin : begin + PREFIX] = first
    return tokens, start


def loglikelihood(config, params, prompts, prefix, axes=None):
    tokens, start = prompts
    target = np.arange(LENGTH) > (start + PREFIX)[:, None]
    run = jax.jit(make_loglikelihood(config, axes, prefix))
    return np.asarray(run(params, tokens, start, target))


@pytest.mark.few(1)
@pytest.mark.parametrize("written_out", [pytest.param(8, marks=pytest.mark.slow), 0])
@pytest.mark.parametrize("name", FEW_CONFIGS)
def test_scores_are_the_same(name, written_out, prompts, monkeypatch):
    monkeypatch.setattr(cache, "WRITTEN_OUT", written_out)
    config, params = models(name)
    for population in (alone(params[0]), stacked(*params)):
        whole = loglikelihood(config, population, prompts, 0)
        np.testing.assert_allclose(
            loglikelihood(config, population, prompts, PREFIX), whole, rtol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "slots"),
    [
        ("llama", None),
        pytest.param("mistral", 2, marks=pytest.mark.slow),
        pytest.param("llama", 2, marks=pytest.mark.slow),
        pytest.param("mistral", None, marks=pytest.mark.slow),
    ],
)
def test_answers_are_the_same(name, slots, prompts):
    config, params = models(name)
    for population in (alone(params[0]), stacked(*params)):
        whole = generate(config, population, prompts)
        found = generate(config, population, prompts, prefix=PREFIX, slots=slots)
        np.testing.assert_array_equal(found, whole)


@pytest.mark.slow
def test_paths_read_it_too(prompts):
    config, params = models("mistral")
    population, axes = paths(params[0])
    whole = loglikelihood(config, population, prompts, 0, axes)
    found = loglikelihood(config, population, prompts, PREFIX, axes)
    np.testing.assert_allclose(found, whole, rtol=1e-5)
    np.testing.assert_array_equal(
        generate(config, population, prompts, axes=axes, prefix=PREFIX, slots=2),
        generate(config, population, prompts, axes=axes),
    )


def test_a_prefix_is_what_all_rows_begin_with_and_not_what_is_scored():
    first = list(range(20))
    assert shared_prefix([([*first, 7], 21), ([*first, 8, 9], 22)]) == 20
    assert shared_prefix([(first, 20), ([*first, 8], 21)]) == 19
    assert shared_prefix([([*first, 7], 18), ([*first, 8], 18)]) == 17
    assert shared_prefix([(first[:10], 10), (first[:10], 10)]) == 0  # not worth it
    assert shared_prefix([(first, 20)]) == 0


def test_worked_examples_before_every_prompt_are_found(write):  # noqa: F811
    items = [{"question": f"{n}?", "answer": n, "choices": ["0", "1"]} for n in (0, 1)]
    worked = "Q: 1 + 1 = ? A: 2\n"
    data = write(*items)
    generation = GenerationTask(data=data, prefix=worked).bind(language_model())
    assert generation.request.prefix == 1 + len(worked)
    choice = MultipleChoiceTask(data=data, prefix=worked).bind(language_model())
    assert choice.request.prefix == 1 + len(worked)
