"""Where memory is short, the compiler decides how many answers are written at a time."""

import jax
import numpy as np
import pytest

from evojax_merge.fitness import GenerationTask
from evojax_merge.measuring import device_memory
from evojax_merge.measuring.candidates import Candidates
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.models.decoder.abilities import Generation
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.path import PATH, make_path
from evojax_merge.models.family import DECODER
from evojax_merge.runs.dataflow import STACKED, shared_axes, together
from tests.checkpoints_factory import tiny_config
from tests.fitness.conftest import language_model, write  # noqa: F401
from tests.models.decoder.test_abilities import estimated_and_compiled


@pytest.fixture
def bound(write):  # noqa: F811
    path = write(*({"question": chr(40 + n) * 150, "answer": 1} for n in range(40)))
    return GenerationTask(data=path, max_new_tokens=8).bind(language_model())


def slots_within(free, bound, config, monkeypatch):
    """What is asked for at a time where so many bytes are free, and what was tried before."""
    return asked_within(
        free,
        bound,
        config,
        monkeypatch,
        merge_fn=lambda materials, genotype: materials,
        materials=DECODER.init_params(config, jax.random.key(0)),
    )


def asked_within(free, bound, config, monkeypatch, **given):
    """What is asked for at a time of candidates of some kind, and what was tried before."""
    program, asked = Generation.program, []

    def watched(self, config, request, *rest):
        asked.append(request.slots)
        return program(self, config, request, *rest)

    monkeypatch.setattr(Generation, "program", watched)
    monkeypatch.setattr(device_memory, "free_bytes", lambda device: free)
    more = {"mesh": make_mesh(), "dims": 1, "population_size": 4}
    Evaluator(DECODER, config, tasks={"search": bound}, **more, **given)
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


def test_a_compiler_that_refuses_a_program_says_that_it_does_not_fit(bound, monkeypatch):
    def refuse(lowered):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in hbm")

    config = DecoderConfig.from_hf(tiny_config(vocab_size=259))
    model = sum(4 * np.prod(shape) for shape in DECODER.layout(config).shapes.values())
    told = DECODER.ability(bound.request).bytes(config, bound.request, tuple(bound.batches[0]), 4)
    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    free = int((model + 0.9 * told) / 0.7)
    assert slots_within(free, bound, config, monkeypatch) == (20, [None])


def test_the_compiler_is_not_asked_for_paths(bound, monkeypatch):
    """How long a path may be follows from what is told, which must be what its request is for."""
    config = DecoderConfig.from_hf(tiny_config(vocab_size=259))
    hops, pool = config.num_layers, DECODER.init_params(config, jax.random.key(0))
    told = DECODER.ability(bound.request).bytes(
        config, bound.request, tuple(bound.batches[0]), 4, hops
    )
    candidates = Candidates(
        axes=STACKED,
        params=lambda own, shared: {**shared, PATH: together(own)},
        param_axes=shared_axes(pool),
        hops=hops,
    )
    found = asked_within(
        int(0.95 * told / 0.7),
        bound,
        config,
        monkeypatch,
        merge_fn=lambda materials, genotype: make_path(np.arange(hops)),
        materials=(),
        shared=pool,
        candidates=candidates,
    )
    assert found == (20, [])
