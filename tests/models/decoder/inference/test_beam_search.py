"""Beam search and the repetition penalty against transformers, and however they are carried out.

Tokens are compared exactly, each row with ``generate`` on that prompt alone, in float32. Logits of
both sides agree to some 1e-6. Tokens could differ only where two continuations come that close, in
which case either is right; none of those here does.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from evojax_merge.checkpoints import load
from evojax_merge.models.decoder import cache
from evojax_merge.models.decoder.inference import beam_search
from evojax_merge.models.decoder.inference.beams import advance, begin
from evojax_merge.models.decoder.inference.repetition import seen_in
from evojax_merge.models.decoder.variants import MODEL_TYPES
from tests.checkpoints_factory import tiny_config, write_checkpoint
from tests.models.decoder.inference.test_continuous import generate, models, paths
from tests.models.decoder.inference.test_generation import alone, reference, stacked

PAD, EOS = 0, (2, 7, 11, 31)
LENGTHS = (9, 3, 6, 1)
WAYS = ((5, 1.5), (5, 1.0), (2, 1.5), (2, 1.0), (1, 1.5))


@pytest.fixture(scope="module", autouse=True)
def highest_precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def prompts():
    """Prompts of several lengths, with noise in the place of padding."""
    longest = max(LENGTHS)
    tokens = np.random.default_rng(3).integers(3, 64, (len(LENGTHS), longest))
    return tokens.astype(np.int32), np.array([longest - n for n in LENGTHS], np.int32)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The directory of a tiny checkpoint of a type. Its windows are shorter than answers."""

    def write(kind):
        changes = {"sliding_window": 5} if kind == "mistral" else {}
        config = tiny_config(kind, **changes)
        return write_checkpoint(tmp_path_factory.mktemp(kind), config, seed=1)

    return functools.cache(write)


def theirs(network, prompt, new, beams, penalty):
    """The answer of transformers to one prompt, padded."""
    tokens = torch.tensor(prompt[None], dtype=torch.long)
    answer = network.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=new,
        do_sample=False,
        num_beams=beams,
        repetition_penalty=penalty,
        eos_token_id=list(EOS),
        pad_token_id=PAD,
    )[0, len(prompt) :].numpy()
    return np.pad(answer, (0, new - len(answer)), constant_values=PAD)


def assert_as_transformers(directory, prompts, new, beams, penalty):
    model, network = load(directory), reference(directory)
    ours = generate(
        model.config,
        alone(model.params),
        prompts,
        EOS,
        new,
        beams=beams,
        repetition_penalty=penalty,
    )[0]
    for row, first, answer in zip(*prompts, ours, strict=True):
        np.testing.assert_array_equal(answer, theirs(network, row[first:], new, beams, penalty))
    return (ours != PAD).sum(-1)


@pytest.mark.few(1)
@pytest.mark.parametrize(("beams", "penalty"), WAYS)
def test_tokens_are_those_of_transformers(beams, penalty, written, prompts):
    lengths = assert_as_transformers(written("llama"), prompts, 32, beams, penalty)
    assert lengths.min() < lengths.max()  # some answers end and others do not


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_long_answers_of_all_types_are_those_of_transformers(kind, written, prompts):
    assert_as_transformers(written(kind), prompts, 64, 5, 1.5)


@pytest.mark.slow
def test_a_population_answers_as_its_members_do_in_groups_or_together(prompts):
    config, params = models("llama")
    run = functools.partial(generate, config, eos_ids=EOS, new=8, beams=3, repetition_penalty=1.5)
    together = run(stacked(*params), prompts)
    np.testing.assert_array_equal(run(stacked(*params), prompts, slots=3), together)
    for own, one in zip(params, together, strict=True):
        np.testing.assert_array_equal(run(alone(own), prompts)[0], one)


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 3])
def test_a_prefix_counts_for_the_penalty(beams, prompts):
    config, params = models("llama")
    tokens, _ = prompts
    tokens = np.where(np.arange(9) < 4, tokens[0], tokens)  # all begin alike
    start = np.zeros(len(tokens), np.int32)
    run = functools.partial(
        generate, config, alone(params[0]), (tokens, start), EOS, 8, beams=beams
    )
    whole = run(repetition_penalty=1.5)
    assert (whole != run()).any()
    np.testing.assert_array_equal(run(repetition_penalty=1.5, prefix=4), whole)
    np.testing.assert_array_equal(run(repetition_penalty=1.5, prefix=4, slots=3), whole)


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 3])
def test_paths_and_stacked_caches_take_beams(beams, prompts, monkeypatch):
    config, params = models("mistral")
    run = functools.partial(generate, config, beams=beams, repetition_penalty=1.5)
    together = run(stacked(*params), prompts)
    population, axes = paths(params[0])
    walked = run(population, prompts, axes=axes)
    np.testing.assert_array_equal(walked[0], together[0])  # the first path is the model's own
    assert (walked[1] != together[0]).any()
    monkeypatch.setattr(cache, "WRITTEN_OUT", 0)
    np.testing.assert_array_equal(run(stacked(*params), prompts), together)


def test_padding_is_not_seen_before():
    seen = seen_in(jnp.array([[5, 5, 3], [1, 2, 99]]), jnp.array([2, 1]), 6)
    assert [list(np.flatnonzero(row)) for row in seen] == [[3], [2]]


@pytest.mark.slow
def test_the_loop_stops_when_no_answer_can_be_surpassed(prompts):
    config, params = models("llama")
    taken = []
    original = beam_search.BeamSearch.decode

    def counted(*args):
        jax.debug.callback(lambda: taken.append(1))
        return original(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beam_search.BeamSearch, "decode", counted)
        generate(config, alone(params[0]), prompts, tuple(range(4, 64)), 20, beams=2)
        jax.effects_barrier()
    assert len(taken) < 19


def test_a_row_closes_when_its_best_beam_is_no_better_than_its_worst_answer():
    """Two beams of a row, of tokens 0 and 1, of which 1 ends an answer."""
    ends = jnp.array([False, True, False])
    first = jnp.log(jnp.array([[[0.5, 0.3, 0.2]] * 2]))
    beams, step = advance(begin(1, 2, 4, 9), first, ends, jnp.int32(0))
    np.testing.assert_array_equal(step.token, [[0, 2]])
    np.testing.assert_allclose(beams.means, [[np.log(0.3), -np.inf]])
    assert beams.open.all()
    second = jnp.log(jnp.array([[[0.1, 0.8, 0.1], [0.1, 0.8, 0.1]]]))
    beams, step = advance(beams, second, ends, jnp.int32(1))
    np.testing.assert_array_equal(step.parent, [[0, 0]])
    np.testing.assert_array_equal(beams.answers[0], [[0, 1, 9, 9], [2, 1, 9, 9]])
    np.testing.assert_allclose(beams.means, np.log([[0.4, 0.16]]) / 2, rtol=1e-6)
    assert not beams.open.any()  # log(0.05) / 2 is less than log(0.16) / 2
    again, _ = advance(beams, second * 0, ends, jnp.int32(2))
    np.testing.assert_array_equal(again.answers, beams.answers)
