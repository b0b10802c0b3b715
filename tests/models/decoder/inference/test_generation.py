"""Greedy generation and scoring against transformers, and a population against one at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from evojax_merge.checkpoints import load
from evojax_merge.models.decoder import loglikelihood
from evojax_merge.models.decoder.inference.generation import make_generate
from evojax_merge.models.decoder.inference.scoring import make_loglikelihood
from evojax_merge.models.decoder.variants import MODEL_TYPES
from tests.checkpoints_factory import tiny_config, write_checkpoint
from tests.trees import axes_of

PAD, EOS, NEW = 0, 2, 12
LENGTHS = (9, 3, 6, 1)


@pytest.fixture(scope="module", autouse=True)
def highest_precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module", params=MODEL_TYPES)
def directory(request, tmp_path_factory):
    changes = {"sliding_window": 5} if request.param == "mistral" else {}
    config = tiny_config(request.param, tie_word_embeddings=request.param == "qwen3", **changes)
    return write_checkpoint(tmp_path_factory.mktemp(request.param), config)


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(3)
    longest = max(LENGTHS)
    tokens = np.full((len(LENGTHS), longest), PAD, np.int32)
    for row, length in enumerate(LENGTHS):
        tokens[row, longest - length :] = rng.integers(3, 64, length)
    return tokens, np.array([longest - length for length in LENGTHS], np.int32)


def alone(params):
    axes = axes_of(params)
    return jax.tree.map(lambda leaf, axis: jnp.expand_dims(leaf, axis), params, axes)


def stacked(*models):
    axes = axes_of(models[0])
    return jax.tree.map(lambda axis, *leaves: jnp.stack(leaves, axis), axes, *models)


def reference(directory) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    ).eval()


@pytest.mark.few(2)
def test_greedy_tokens_are_those_of_transformers(directory, prompts):
    tokens, start = prompts
    model = load(directory)
    generate = jax.jit(make_generate(model.config, max_new_tokens=NEW, eos_ids=(EOS,), pad_id=PAD))
    ours = np.asarray(generate(alone(model.params), tokens, start))[0]
    mask = np.arange(tokens.shape[1])[None] >= start[:, None]
    theirs = (
        reference(directory)
        .generate(
            torch.tensor(tokens, dtype=torch.long),
            attention_mask=torch.tensor(mask.astype(np.int64)),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )[:, tokens.shape[1] :]
        .numpy()
    )
    padded = np.full_like(ours, PAD)
    padded[:, : theirs.shape[1]] = theirs
    np.testing.assert_array_equal(ours, padded)


@pytest.mark.few(2)
def test_loglikelihood_is_that_of_transformers(directory, prompts):
    tokens, start = prompts
    model = load(directory)
    slots = np.arange(tokens.shape[1])[None]
    target = (slots > start[:, None]) & (slots >= 2)
    ours = jax.jit(make_loglikelihood(model.config))(alone(model.params), tokens, start, target)[0]
    network = reference(directory)
    for row, first in enumerate(start):
        own = torch.tensor(tokens[row : row + 1, first:], dtype=torch.long)
        with torch.no_grad():
            chosen = network(own).logits.log_softmax(-1)[0]
        total = sum(
            float(chosen[slot - first - 1, tokens[row, slot]])
            for slot in np.flatnonzero(target[row])
        )
        np.testing.assert_allclose(ours[row], total, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    config = tiny_config()
    folder = tmp_path_factory.mktemp("population")
    return [load(write_checkpoint(folder / str(s), config, seed=s)) for s in range(3)]


def test_a_population_answers_as_its_members_do(llama, prompts):
    tokens, start = prompts
    run = jax.jit(make_generate(llama[0].config, max_new_tokens=NEW, eos_ids=(EOS,), pad_id=PAD))
    together = run(stacked(*(model.params for model in llama)), tokens, start)
    for index, model in enumerate(llama):
        np.testing.assert_array_equal(together[index], run(alone(model.params), tokens, start)[0])


@pytest.mark.parametrize("positions", [1, 3, 5])
def test_logits_in_pieces_score_as_whole_ones(llama, prompts, monkeypatch, positions):
    tokens, start = prompts
    target = np.arange(tokens.shape[1])[None] > start[:, None]
    config, params = llama[0].config, alone(llama[0].params)
    whole = jax.jit(make_loglikelihood(config))(params, tokens, start, target)
    monkeypatch.setattr(
        loglikelihood, "LOGIT_BYTES", 4 * len(tokens) * config.vocab_size * positions
    )
    assert loglikelihood.pieces_of_logits(config, *tokens[:, 1:].shape) == -(-8 // positions)
    scoring = jax.jit(make_loglikelihood(config))
    np.testing.assert_allclose(scoring(params, tokens, start, target), whole, rtol=1e-6)
    held = scoring.lower(params, tokens, start, target).compile().as_text()
    assert f"f32[{len(tokens)},8,{config.vocab_size}]" not in held


def test_what_greedy_decoding_writes_is_told(llama, prompts, monkeypatch):
    """Of all tokens after a prompt it is the likeliest; of two marked ones, if both are."""
    (first, *_), (begin, *_) = prompts
    config, size = llama[0].config, llama[0].config.vocab_size
    tokens = np.tile(np.append(first, 0), (size, 1))
    tokens[:, -1] = np.arange(size)
    start, target = np.full(size, begin), np.zeros_like(tokens, bool)
    target[:, -1] = True
    monkeypatch.setattr(loglikelihood, "LOGIT_BYTES", 12 * size * size)  # three positions at a time
    scoring = jax.jit(make_loglikelihood(config, greedy=True))
    ((values, greedy),) = np.moveaxis(scoring(alone(llama[0].params), tokens, start, target), -1, 1)
    np.testing.assert_allclose(np.exp(values).sum(), 1, rtol=1e-5)
    np.testing.assert_array_equal(greedy, np.arange(size) == values.argmax())
    target[:, 1] = True  # a token of the prompt, at random
    assert not scoring(alone(llama[0].params), tokens, start, target)[0, :, 1].any()


def test_what_stands_in_padding_does_not_matter(llama, prompts):
    tokens, start = prompts
    noise = np.random.default_rng(0).integers(0, 64, tokens.shape)
    padding = np.arange(tokens.shape[1])[None] < start[:, None]
    run = jax.jit(make_generate(llama[0].config, max_new_tokens=4, eos_ids=(EOS,), pad_id=PAD))
    params = alone(llama[0].params)
    noisy = np.where(padding, noise, tokens).astype(np.int32)
    np.testing.assert_array_equal(run(params, tokens, start), run(params, noisy, start))


@pytest.mark.slow
def test_after_the_end_there_is_padding_and_the_loop_stops(llama, prompts):
    tokens, start = prompts
    free = make_generate(llama[0].config, max_new_tokens=NEW, eos_ids=(), pad_id=PAD)
    answers = np.asarray(jax.jit(free)(alone(llama[0].params), tokens, start))[0]
    ends = tuple({int(answer[2]) for answer in answers})  # every answer ends by its third token
    run = make_generate(llama[0].config, max_new_tokens=NEW, eos_ids=ends, pad_id=PAD)
    ended = np.asarray(jax.jit(run)(alone(llama[0].params), tokens, start))[0]
    for answer, cut in zip(answers, ended, strict=True):
        last = int(np.flatnonzero(np.isin(answer, ends))[0])
        np.testing.assert_array_equal(cut[: last + 1], answer[: last + 1])
        assert (cut[last + 1 :] == PAD).all()
    assert _steps(run, alone(llama[0].params), tokens, start) <= 3


def _steps(run, params, tokens, start) -> int:
    """Decode steps actually taken, counted by a callback in the head's argmax."""
    taken = []
    original = jnp.argmax

    def counted(*args, **kwargs):
        jax.debug.callback(lambda: taken.append(1))
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evojax_merge.models.decoder.inference.greedy.jnp.argmax", counted)
        jax.block_until_ready(jax.jit(lambda *a: run(*a))(params, tokens, start))
        jax.effects_barrier()
    return len(taken) - 1  # the first is the prefill's
