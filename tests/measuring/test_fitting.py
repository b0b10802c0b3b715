"""Where memory is short, the compiler decides how many answers are written at a time."""

import jax
import numpy as np
import pytest

from evojax_merge.fitness import GenerationTask
from evojax_merge.measuring import device_memory
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.models.decoder.abilities import Generation
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.family import DECODER
from tests.checkpoints_factory import tiny_config
from tests.fitness.conftest import language_model, write  # noqa: F401
from tests.models.decoder.test_abilities import estimated_and_compiled


@pytest.fixture
def bound(write):  # noqa: F811
    path = write(*({"question": chr(40 + n) * 150, "answer": 1} for n in range(40)))
    return GenerationTask(data=path, max_new_tokens=8).bind(language_model())


def slots_within(free, bound, config, monkeypatch):
    """What is asked for at a time where so many bytes are free, and what was tried before."""
    params, asked = DECODER.init_params(config, jax.random.key(0)), []
    program = Generation.program

    def watched(self, config, request, *rest):
        asked.append(request.slots)
        return program(self, config, request, *rest)

    monkeypatch.setattr(Generation, "program", watched)
    monkeypatch.setattr(device_memory, "free_bytes", lambda device: free)
    Evaluator(
        DECODER,
        config,
        lambda materials, genotype: materials,
        params,
        {"search": bound},
        mesh=make_mesh(),
        dims=1,
        population_size=4,
    )
    *tried, taken = asked
    return taken, tried


def test_the_compiler_is_asked_where_the_estimate_is_too_much(bound, monkeypatch):
    config = DecoderConfig.from_hf(tiny_config(vocab_size=259))
    (batch,) = bound.batches
    told, taken = estimated_and_compiled(config, bound.request, tuple(batch))
    assert 1.1 * taken < told
    model = sum(4 * np.prod(shape) for shape in DECODER.layout(config).shapes.values())

    def slots(work):
        return slots_within(int((model + work) / 0.7), bound, config, monkeypatch)

    assert slots(1.01 * told) == (None, [])
    assert slots((taken + told) / 2) == (None, [None])
    few, _ = slots(0.97 * taken)
    assert few == 20
