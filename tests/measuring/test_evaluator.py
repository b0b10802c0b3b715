"""A population's results: those of its members, whatever the chunk and the mesh."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.measuring.device_memory import is_held_alone
from evojax_merge.measuring.mesh import make_mesh
from evojax_merge.models.family import MLP
from tests.compilations import count_compilations
from tests.processes import WITHOUT_TORCH


def by_hand(digits, genotype, split="search"):
    """The same candidate, merged and run alone and eagerly."""
    params = digits.merge_fn(digits.materials, genotype)
    task = digits.tasks[split]
    logits = [MLP.forward(digits.config, params, *batch) for batch in task.batches]
    return task.score([np.asarray(found)[None] for found in logits])[0]


def test_every_candidate_gets_its_own_results(digits, population):
    evaluation = digits.evaluator()(population, "search")
    assert evaluation.items.shape == (8, len(digits.tasks["search"]))
    for genotype, items in zip(population, evaluation.items, strict=True):
        np.testing.assert_array_equal(items, by_hand(digits, genotype))
    np.testing.assert_allclose(evaluation.fitness, evaluation.items.mean(axis=1), rtol=1e-6)
    assert len(np.unique(evaluation.fitness)) > 4
    assert (evaluation.seconds > 0).all()


@pytest.mark.parametrize("chunk", [1, 3, 8, 20])
def test_the_chunk_changes_nothing(digits, population, chunk):
    whole = digits.evaluator(chunk=8)(population, "search").items
    np.testing.assert_array_equal(digits.evaluator(chunk=chunk)(population, "search").items, whole)


def test_given_models_are_measured_by_the_same_program(digits, population):
    evaluator = digits.evaluator(chunk=4)
    found = evaluator(population, "test").items
    merged = [digits.merge_fn(digits.materials, genotype) for genotype in population[:6]]
    measured = [items for items, _ in evaluator.measure(iter(merged), "test")]
    np.testing.assert_array_equal(measured, found[:6])


def test_only_the_first_generation_compiles(digits, population):
    evaluator = digits.evaluator(chunk=3)
    with count_compilations() as first:
        evaluator(population, "search")
    assert first.count > 0
    with count_compilations() as later:
        evaluator(population[::-1], "search")
        evaluator(population * 0.5, "search")
    assert later.count == 0


def test_a_chunk_is_scored_while_the_next_one_runs(digits, population, monkeypatch):
    evaluator, happened = digits.evaluator(chunk=3), []
    task, start = evaluator.tasks["search"], evaluator._start

    def started(*args):
        happened.append("start")
        return start(*args)

    def score(outputs):
        happened.append("score")
        return type(task).score(task, outputs)

    monkeypatch.setattr(evaluator, "_start", started)
    monkeypatch.setitem(vars(task), "score", score)
    evaluation = evaluator(population, "search")
    assert happened == ["start", "start", "score", "start", "score", "score"]
    whole = digits.evaluator(chunk=8)(population, "search")
    np.testing.assert_array_equal(evaluation.items, whole.items)
    assert (evaluation.seconds > 0).all()


def full(*args):
    raise jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Out of memory\nwhile trying to allocate 12.50GiB."
    )


def measured(digits, evaluator, population, way):
    if way == "search":
        return evaluator(population, "test")
    return list(evaluator.measure([digits.merge_fn(digits.materials, population[0])], "test"))


FULL = r"Out of memory while trying to allocate 12.50GiB.*; .* GB are free"


@pytest.mark.parametrize("way", ["search", "given models"])
def test_too_little_memory_is_said_in_words(digits, population, way):
    evaluator = digits.evaluator(chunk=4)
    evaluator.workload.programs["test"] = [full]
    with pytest.raises(ValueError, match=rf"for 4 candidates .* on the test items, .*: {FULL}"):
        measured(digits, evaluator, population, way)


@pytest.mark.parametrize("way", ["search", "given models"])
def test_too_little_memory_for_candidates_themselves_is_said_in_words(digits, population, way):
    evaluator = digits.evaluator(chunk=4)
    evaluator.workload = evaluator.workload._replace(merge=full, stack=full)
    with pytest.raises(ValueError, match=rf"for making 4 candidates at a time .*: {FULL}"):
        measured(digits, evaluator, population, way)


def test_too_little_memory_for_the_place_of_candidates_is_said_in_words(digits, monkeypatch):
    monkeypatch.setattr("evojax_merge.measuring.evaluator.allocate", full)
    with pytest.raises(ValueError, match=rf"for making 4 candidates at a time .*: {FULL}"):
        digits.evaluator(chunk=4)


def test_given_models_are_laid_out_where_they_are_stacked(digits, population):
    """They are laid out within the program, and no other copy of them is held."""
    traced = []

    def form(candidate):
        traced.extend(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(candidate))
        return candidate

    own = digits.evaluator().workload.candidates._replace(form=form)
    evaluator = digits.evaluator(chunk=2, candidates=own)
    measured(digits, evaluator, population, "given models")
    assert traced
    assert all(traced)


def test_other_faults_of_a_device_stay_what_they_are(digits, population):
    evaluator = digits.evaluator(chunk=4)

    def broken(*args):
        raise jax.errors.JaxRuntimeError("INTERNAL: no such thing")

    evaluator.workload.programs["test"] = [broken]
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        evaluator(population, "test")


def test_leaving_between_chunks(digits, population):
    calls = []

    def interrupted():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        digits.evaluator(chunk=4)(population, "search", interrupted)
    assert len(calls) == 2


_ON_DEVICES = """
import hashlib, sys
import jax, numpy as np
from tests.digits_factory import make_digits
digits = make_digits()
population = np.random.default_rng(0).uniform(0, 1, (16, digits.space.dims)).astype(np.float32)
for devices in (1, 2, 8):
    evaluator = digits.evaluator(16, devices=jax.devices()[:devices], chunk=2)
    logits = []
    for first in range(0, 16, 2 * devices):
        logits.append(evaluator.outputs(population[first : first + 2 * devices], "search")[0])
    items = evaluator(population, "search").items
    whole = np.concatenate(logits)
    print(hashlib.sha256(whole.tobytes() + items.tobytes()).hexdigest(), whole.shape[0])
"""


def test_1_2_and_8_devices_give_the_same_bits():
    done = subprocess.run(
        [sys.executable, "-c", _ON_DEVICES],
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
        | {"PATH": "", "PYTHONPATH": ":".join([WITHOUT_TORCH, *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")[:3]
    assert len(set(lines)) == 1, done.stdout
    assert lines[0].endswith(" 16")


def test_a_mesh_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"mesh\.pop is 99"):
        make_mesh(pop=99)
    with pytest.raises(ValueError, match=r"mesh\.model is 99, but there are"):
        make_mesh(model=99)


def test_the_chunk_follows_from_free_memory(digits, monkeypatch):
    monkeypatch.setattr("evojax_merge.measuring.device_memory.free_bytes", lambda device: 4_000_000)
    small = digits.evaluator(population_size=1000).chunk
    monkeypatch.setattr("evojax_merge.measuring.device_memory.free_bytes", lambda device: 8_000_000)
    assert 1 <= small < digits.evaluator(population_size=1000).chunk < 1000
    monkeypatch.setattr("evojax_merge.measuring.device_memory.free_bytes", lambda device: 10)
    assert digits.evaluator(population_size=1000).chunk == 1


def test_a_cpu_holds_one_candidate_at_a_time_unless_it_is_small(digits):
    def merge_fn(materials, genotype):
        merged = digits.merge_fn(materials, genotype)
        return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), merged)

    assert digits.evaluator().chunk == 8
    assert digits._replace(merge_fn=merge_fn).evaluator().chunk == 1
    assert digits._replace(merge_fn=merge_fn).evaluator(chunk=3).chunk == 3
    large = {"embedding": jax.ShapeDtypeStruct((1000, 300), jnp.float32)}
    assert is_held_alone("cpu", large)
    assert not is_held_alone("gpu", large)


@pytest.mark.parametrize("chunk", [1, 4])
def test_merging_takes_no_memory_beyond_its_inputs_and_results(digits, chunk):
    evaluator = digits.evaluator(chunk=chunk)
    genotypes = np.zeros((chunk, digits.space.dims), np.float32)
    arguments = (evaluator._params, evaluator.materials, genotypes, np.int32(chunk))
    compiled = evaluator.workload.merge.lower(*arguments).compile()
    model = sum(leaf.nbytes for leaf in jax.tree.leaves(evaluator._params)) / chunk
    assert compiled.memory_analysis().temp_size_in_bytes < 0.1 * model
