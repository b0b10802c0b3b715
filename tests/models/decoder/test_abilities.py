"""What decoders can do, and what it takes."""

import dataclasses

import jax
import numpy as np
import pytest

from evojax_merge.fitness import GenerationTask
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.family import DECODER, MLP
from evojax_merge.models.request import Classify, CountLayers, Generate, Loglikelihood
from tests.checkpoints_factory import tiny_config
from tests.fitness.conftest import language_model, write  # noqa: F401


@pytest.fixture
def bound(write):  # noqa: F811
    path = write(*({"question": "?" * 20, "answer": 1} for _ in range(100)))
    return GenerationTask(data=path, max_new_tokens=40).bind(language_model())


def needed(bound, slots=None, **changes):
    config = DecoderConfig.from_hf(tiny_config())
    request = dataclasses.replace(bound.request, slots=slots, **changes)
    return DECODER.ability(request).bytes(config, request, bound.batches[0], 4)


def test_fewer_answers_at_a_time_take_less_memory(bound):
    assert needed(bound, None) == needed(bound, 100)
    assert needed(bound, 50) < needed(bound, 100)


def test_answers_at_a_time_are_halved_until_they_are_few(bound):
    ability, request, found = DECODER.ability(bound.request), bound.request, []
    while request is not None:
        found.append(request.slots)
        request = ability.smaller(request, bound.batches)
    assert found == [None, 50, 25, 12]


def test_beams_share_the_cache_of_the_prompt(bound):
    config = DecoderConfig.from_hf(tiny_config())
    rows, length = bound.batches[0].tokens.shape
    rest = length - bound.request.prefix
    token = 4 * 2 * config.num_layers * config.num_kv_heads * config.head_dim
    five = needed(bound, beams=5)
    assert five > rows * (rest + 5 * 40) * token
    assert needed(bound, slots=20, beams=5) < five / 3
    assert needed(bound, repetition_penalty=1.5) > needed(bound)


def test_beams_are_answers_at_a_time(bound):
    request, found = dataclasses.replace(bound.request, beams=5), []
    ability = DECODER.ability(request)
    while request is not None:
        found.append(request.slots)
        request = ability.smaller(request, bound.batches)
    assert found == [None, 50, 25, 12, 6, 3]


@pytest.mark.few(3)
@pytest.mark.parametrize(("prompt", "new"), [(32, 64), (8, 200), (128, 16)])
@pytest.mark.parametrize(
    "request_",
    [Generate(1, (2,), 0), Generate(1, (2,), 0, slots=8), Generate(1, (2,), 0, beams=3)],
    ids=["together", "in turn", "beams"],
)
def test_an_estimate_is_near_what_the_compiler_says(request_, prompt, new):
    sizes = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 4}
    config = DecoderConfig.from_hf(tiny_config(vocab_size=256, **sizes))
    estimated, compiled = estimated_and_compiled(
        config,
        dataclasses.replace(request_, max_new_tokens=new),
        (np.zeros((32, prompt), np.int32), np.zeros(32, np.int32)),
    )
    assert 0.9 * compiled < estimated < 2.5 * compiled


def test_reading_a_long_prefix_is_counted():
    config = DecoderConfig.from_hf(tiny_config(hidden_size=64))
    batch = (np.zeros((4, 300), np.int32), np.zeros(4, np.int32))
    request = Generate(8, (2,), 0, prefix=290)
    estimated, compiled = estimated_and_compiled(config, request, batch)
    assert 0.9 * compiled < estimated < 2.5 * compiled


@pytest.mark.parametrize("vocabulary", [256, 8192])
def test_an_estimate_of_scoring_is_near_what_the_compiler_says(vocabulary):
    config = DecoderConfig.from_hf(tiny_config(vocab_size=vocabulary, hidden_size=64))
    marked = np.zeros((32, 64), bool)
    batch = (marked.astype(np.int32), np.zeros(32, np.int32), marked)
    estimated, compiled = estimated_and_compiled(config, Loglikelihood(), batch)
    assert 0.9 * compiled < estimated < 2.5 * compiled


def estimated_and_compiled(config, request, batch):
    """What a program takes beside its arguments, by the estimate and by the compiler."""
    ability, layout = DECODER.ability(request), DECODER.layout(config)
    axes = layout.unrolled_axes()
    params = jax.eval_shape(layout.unroll, DECODER.abstract_params(config))
    alone = jax.tree.map(
        lambda leaf, axis: jax.ShapeDtypeStruct(
            (*leaf.shape[:axis], 1, *leaf.shape[axis:]), leaf.dtype
        ),
        params,
        axes,
    )
    program = jax.jit(ability.program(config, request, axes)).lower(alone, *batch).compile()
    return ability.bytes(config, request, batch, 4), program.memory_analysis().temp_size_in_bytes


def test_slots_are_at_least_one(write):  # noqa: F811
    with pytest.raises(ValueError, match="slots must be a whole number of at least 1, not 0"):
        GenerationTask(data=write({"question": "a", "answer": 1}), slots=0)


@pytest.mark.parametrize(
    ("family", "request_", "able"),
    [
        (MLP, Generate(1, (2,), 0), "cannot; they can classify feature vectors"),
        (
            MLP,
            Loglikelihood(),
            "can tell the likelihood of text, and models of the family mlp",
        ),
        (MLP, CountLayers(), "that can count the layers"),
        (
            DECODER,
            Classify(),
            "can classify feature vectors, and models of the family decoder",
        ),
    ],
)
def test_an_unmet_need_is_one_error_that_names_both(family, request_, able):
    with pytest.raises(ValueError, match=able):
        family.ability(request_)
