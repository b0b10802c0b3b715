"""How many answers memory holds."""

import pytest

from evojax_merge.fitness import GenerationTask
from evojax_merge.inference.programs import batch_bytes, slots_that_fit
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.family import DECODER
from tests.checkpoints_factory import tiny_config
from tests.fitness.conftest import language_model, write  # noqa: F401


@pytest.fixture
def bound(write):  # noqa: F811
    path = write(*({"question": "?" * 20, "answer": 1} for _ in range(100)))
    return GenerationTask(data=path, max_new_tokens=40).bind(language_model())


def work(bound):
    config = DecoderConfig.from_hf(tiny_config())
    return lambda slots: batch_bytes(DECODER, config, bound, bound.batches[0], 4, None, slots)


def test_all_answers_are_written_at_once_where_they_fit(bound):
    of_slots = work(bound)
    assert of_slots(None) == of_slots(100)
    assert slots_that_fit(bound, of_slots(None), of_slots) is None


def test_otherwise_as_many_as_fit(bound):
    of_slots = work(bound)
    assert slots_that_fit(bound, of_slots(None) - 1, of_slots) == 50
    assert slots_that_fit(bound, of_slots(30), of_slots) == 25
    assert slots_that_fit(bound, 1, of_slots) == 12


def test_what_the_user_asks_for_is_the_most(bound):
    bound.slots = 20
    of_slots = work(bound)
    assert slots_that_fit(bound, 2**40, of_slots) == 20
    assert of_slots(None) == of_slots(20)


def test_slots_are_at_least_one(write):  # noqa: F811
    with pytest.raises(ValueError, match="slots must be at least 1 or null, not 0"):
        GenerationTask(data=write({"question": "a", "answer": 1}), slots=0)
