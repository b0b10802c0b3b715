"""The likelihood of reference answers is what the tasks' own programs measure, and has a slope."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge import evolve, load
from evojax_merge.fitness import (
    GenerationTask,
    MultipleChoiceTask,
    PerplexityTask,
    SeveralTasks,
)
from evojax_merge.gradient import Descendable, ReferenceLikelihood
from evojax_merge.gradient.descent import Descent
from evojax_merge.measuring.measure import measure
from evojax_merge.models.decoder.inference.scoring import sequence_loglikelihood
from evojax_merge.models.family import MLP
from tests.gradient.models import classifiers, write_decoders, write_items


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoders")
    write_decoders(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load(folder / "a")


def likelihood_of(model, task, batch_size=2):
    """Of a model whose parameters the one gene scales."""

    def merge_fn(params, genotype):
        return jax.tree.map(lambda leaf: leaf * genotype[0], params)

    space = Descendable(model.family, model.config, merge_fn, model.params, task.bind(model))
    return ReferenceLikelihood(*space, batch_size)


def test_texts_are_as_likely_as_the_perplexity_task_says(model, tmp_path):
    rows = [{"text": "a rather long text, cut in windows"}, {"text": "short"}, {"text": "other"}]
    task = PerplexityTask(data=write_items(tmp_path / "x.jsonl", rows), length=9)
    objective = likelihood_of(model, task)
    own, _ = measure(model, task.bind(model))
    assert len(objective.items(jnp.ones(1))) > len(rows)  # windows
    assert -objective.items(jnp.ones(1)).mean() == pytest.approx(own.mean(), rel=1e-4)


@pytest.mark.parametrize("normalize", ["none", "characters"])
def test_choices_are_normalised_over_each_other(model, tmp_path, normalize):
    rows = [
        {"question": "q", "choices": ["one", "another", "third"], "answer": 1},
        {"question": "longer question", "choices": ["b", "cd"], "answer": 0},
    ]
    path = write_items(tmp_path / "x.jsonl", rows)
    task = MultipleChoiceTask(data=path, normalize=normalize, buckets=1)
    bound = task.bind(model)
    _, outputs = measure(model, bound)
    table = np.float64(bound._table(outputs)[0])
    expected = np.log(np.exp(table).sum(-1)) - table[[0, 1], [1, 0]]
    found = likelihood_of(model, task).items(jnp.ones(1))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
def test_an_answer_follows_its_prompt_and_ends(model, tmp_path):
    rows = [{"question": "1+1", "answer": 2}, {"question": "10+10 is", "answer": 20}]
    path = write_items(tmp_path / "x.jsonl", rows)
    task = GenerationTask(data=path, max_new_tokens=4, reference_text="= {answer}.")
    found = likelihood_of(model, task).items(jnp.ones(1))
    encode = model.tokenizer.encode
    for row, value in zip(rows, found, strict=True):
        prompt, text = row["question"], f"= {row['answer']}."
        ids = [*encode(prompt + text), model.tokenizer.eos_token_id]
        target = np.arange(len(ids)) >= len(encode(prompt))
        total = sequence_loglikelihood(
            model.config, model.params, np.int32([ids]), np.int32([0]), target[None]
        )
        assert value == pytest.approx(-float(total[0]) / target.sum(), rel=1e-4)


def test_the_field_of_the_answer_is_its_text_by_default(model, tmp_path):
    path = write_items(tmp_path / "x.jsonl", [{"question": "1+1=", "answer": 22}])
    (batch,) = GenerationTask(data=path, max_new_tokens=4).bind(model).references()
    assert (batch.weight[0, 0] > 0).sum() == len("22") + 1


def test_labels_cost_their_cross_entropy():
    space = classifiers()
    inputs, labels = space.task.references()[0]
    logits = np.float64(MLP.forward(space.config, space.materials[0], inputs))
    expected = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]
    found = ReferenceLikelihood(*space, 16).items(jnp.zeros(1))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
def test_the_gradient_is_the_slope(model, tmp_path):
    rows = [{"question": "q", "choices": ["one", "another", "3"], "answer": 1}] * 3
    rows += [{"question": "q", "choices": ["x", "y"], "answer": 1}]  # with a place left empty
    task = MultipleChoiceTask(data=write_items(tmp_path / "x.jsonl", rows), buckets=1)
    objective = likelihood_of(model, task, batch_size=16)
    at, step = np.float32([1.0]), 1e-2
    slope, items = objective.gradient(jax.random.key(0), jnp.asarray(at))
    low, high = (objective.items(at + sign * step).mean() for sign in (-1, 1))
    assert items == len(rows)
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=3e-2)


@pytest.mark.slow
def test_of_several_tasks_it_is_the_weighted_sum_of_their_means(model, tmp_path):
    texts = write_items(tmp_path / "x.jsonl", [{"text": "one"}, {"text": "two"}, {"text": "three"}])
    choices = [{"question": "q", "choices": ["one", "another"], "answer": 1}]
    tasks = {
        "texts": PerplexityTask(data=texts),
        "choices": MultipleChoiceTask(data=write_items(tmp_path / "y.jsonl", choices)),
    }
    weights = {"texts": 0.3, "choices": 0.5}
    single = {name: likelihood_of(model, task) for name, task in tasks.items()}

    def merge_fn(params, genotype):
        return jax.tree.map(lambda leaf: leaf * genotype[0], params)

    def descent(weights):
        task = SeveralTasks(tasks, weights).bind(model)
        space = Descendable(model.family, model.config, merge_fn, model.params, task)
        return Descent(np.zeros(1), np.ones(1), "likelihood", 0.1, 4, 0.0).bind(space).bound

    both, at = descent(weights), jnp.ones(1)
    expected = sum(weights[name] * one.items(at).mean() for name, one in single.items())
    assert len(both.items(at)) == 4
    assert both.items(at).mean() == pytest.approx(expected, rel=1e-5)
    slope, items = both.gradient(jax.random.key(0), at)
    assert items > 1
    step = 1e-2
    low, high = (both.items(at + sign * step).mean() for sign in (-1, 1))
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=3e-2)
    # A task that does not count is not looked at.
    alone = descent({"choices": 1.0})
    np.testing.assert_array_equal(alone.items(at), single["choices"].items(at))


def test_what_is_wrong_is_said_before_weights_are_read(folder, tmp_path):
    items = write_items(tmp_path / "x.jsonl", [{"question": "q", "answer": "12"}])
    overrides = [
        "strategy=gradient",
        f"fitness.data={items}",
        "fitness.max_new_tokens=4",
        f"model.base={folder / 'base'}",
        f"model.sources=[{folder / 'a'},{folder / 'b'}]",
    ]
    with pytest.raises(ValueError, match=r"no field 'anser'.*did you mean answer"):
        evolve([*overrides, "fitness.reference_text='{anser}'"], tmp_path / "run")
    text = f"fitness.reference_text={'x' * 300}"
    with pytest.raises(ValueError, match=r"line 1: prompt with answer needs 30\d tokens"):
        evolve([*overrides, text], tmp_path / "other")
