"""What decoders can do, and what it takes."""

import dataclasses

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
    assert needed(bound, slots=20, beams=5) < five / 4
    assert needed(bound, repetition_penalty=1.5) > needed(bound)


def test_beams_are_answers_at_a_time(bound):
    request, found = dataclasses.replace(bound.request, beams=5), []
    ability = DECODER.ability(request)
    while request is not None:
        found.append(request.slots)
        request = ability.smaller(request, bound.batches)
    assert found == [None, 50, 25, 12, 6, 3]


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
