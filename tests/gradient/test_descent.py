"""Descents: the objective falls, the digits get better, and the gradient is the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge import api, evolve
from evojax_merge.fitness.size import BoundSize
from evojax_merge.gradient import GradientDescent, PredictionEntropy, Slope
from evojax_merge.gradient.descent import Descent, NonFiniteGradientWarning
from evojax_merge.models.family import MLP
from evojax_merge.search.history import read_history
from evojax_merge.strategies import Setting
from tests.gradient.models import Bowl, classifiers, write_decoders, write_items

OVERRIDES = [
    "+experiment=digits_halves",
    "strategy=adamerging",
    "strategy.learning_rate=0.01",
    "space.coefficients={weight: {lower: 0, upper: 1, start: 0.3}}",
    "search.finalists=1",
    "baselines.random_search=false",
]


def entropies(logits):
    p = np.exp(np.float64(logits))
    p /= p.sum(-1, keepdims=True)
    return -(p * np.log(p)).sum(-1), -(p.mean(0) * np.log(p.mean(0))).sum()


def small(diversity, batch_size=16):
    """The entropy of interpolated classifiers, and their logits."""
    space = classifiers()
    entropy = PredictionEntropy(*space, batch_size, diversity)
    inputs = space.task.batches[0].inputs
    return entropy, lambda g: MLP.forward(space.config, space.merge_fn(space.materials, g), inputs)


@pytest.mark.few(1)
@pytest.mark.parametrize("diversity", [0.0, 1.0])
def test_what_is_descended_is_numpys_entropy_and_its_slope(diversity):
    entropy, logits = small(diversity, batch_size=10_000)
    at = np.float32([0.3])
    own, mean = entropies(logits(at))
    np.testing.assert_allclose(entropy.items(at), own - diversity * mean, rtol=1e-4, atol=1e-5)
    step = 1e-2
    ends = [entropies(logits(at + sign * step)) for sign in (-1, 1)]
    low, high = (own.mean() - diversity * mean for own, mean in ends)
    slope, items = entropy.gradient(jax.random.key(0), jnp.asarray(at))  # of all: one batch
    assert items == len(own)
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=2e-2)


def test_items_do_not_depend_on_the_batches():
    at = np.float32([0.3])
    np.testing.assert_allclose(
        small(1.0, 7)[0].items(at), small(1.0, 10_000)[0].items(at), rtol=1e-4, atol=1e-5
    )


def test_a_step_follows_the_slope_within_the_bounds():
    strategy = GradientDescent(
        Setting([0.0], [0.31], [0.3]), objective="entropy", learning_rate=0.1, diversity=0
    )
    strategy = strategy.bind(classifiers())
    state = strategy.init(jax.random.key(0))
    before = -strategy.score(state.genotype[None]).mean()
    for step in range(5):
        population, state = strategy.ask(jax.random.key(step), state)
        state = strategy.tell(jax.random.key(step), population, jnp.zeros(1), state)
        assert 0 <= float(state.genotype[0]) <= np.float32(0.31)
    assert -strategy.score(state.genotype[None]).mean() < before
    assert strategy.spent(state) == 5 * 3 * 16


def accuracy(run, name):
    (result,) = [r for r in run.results if r.name == name and r.split == "test"]
    return result.score


@pytest.mark.slow
def test_the_digits_get_better_than_task_arithmetic(tmp_path):
    run = evolve([*OVERRIDES, "search.evaluations=100"], tmp_path / "run")
    fitness = [row["fitness"] for row in read_history(tmp_path / "run" / "history.jsonl")]
    assert len(fitness) == 100
    assert fitness[-1] > fitness[0] + 0.5  # minus the entropy
    assert accuracy(run, "evolved") > accuracy(run, "task_arithmetic") + 0.05
    assert run.recipe.operator == "evojax_merge.operators.task_arithmetic"
    assert api.resume(tmp_path / "run").recipe.to_yaml() == run.recipe.to_yaml()
    again = api.merge(tmp_path / "run" / "recipe.yaml")
    jax.tree.map(np.testing.assert_array_equal, again.params, run.model.params)


@pytest.mark.slow
def test_entropy_alone_leaves_the_most_certain_source(tmp_path):
    run = evolve([*OVERRIDES, "strategy.diversity=0", "search.evaluations=100"], tmp_path / "run")
    assert accuracy(run, "evolved") == pytest.approx(accuracy(run, "high"), abs=0.02)


@pytest.mark.slow
def test_texts_have_an_entropy_too(tmp_path):
    write_decoders(tmp_path)
    write_items(tmp_path / "x.jsonl", [{"text": "some", "question": "q", "answer": 1}] * 3)
    for fitness in ("perplexity", "generation"):
        run = evolve(
            [
                f"fitness={fitness}",
                f"fitness.data={tmp_path / 'x.jsonl'}",
                *(["fitness.max_new_tokens=4"] if fitness == "generation" else []),
                f"model.base={tmp_path / 'base'}",
                f"model.sources=[{tmp_path / 'a'},{tmp_path / 'b'}]",
                "operator=task_arithmetic",
                "space=parameter_full",
                "strategy=adamerging",
                "strategy.learning_rate=0.05",
                "search.evaluations=6",
                "baselines.published=false",
            ],
            tmp_path / fitness,
        )
        assert run.results[-1].name == "evolved"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
@pytest.mark.parametrize("strategy", ["gradient", "adamerging", "memetic"])
def test_several_tasks_are_descended_together(tmp_path, strategy):
    write_decoders(tmp_path)
    data = write_items(tmp_path / "x.jsonl", [{"text": "some", "question": "q", "answer": 1}] * 3)
    run = evolve(
        [
            "fitness=[perplexity,generation]",
            f"fitness.tasks.perplexity.data={data}",
            f"fitness.tasks.generation.data={data}",
            "fitness.tasks.generation.max_new_tokens=4",
            f"model.base={tmp_path / 'base'}",
            f"model.sources=[{tmp_path / 'a'},{tmp_path / 'b'}]",
            "operator=task_arithmetic",
            f"strategy={strategy}",
            "search.evaluations=8",
            "baselines.published=false",
        ],
        tmp_path / "run",
    )
    genotypes = [row["genotype"] for row in read_history(tmp_path / "run" / "history.jsonl")]
    assert run.results[-1].name == "evolved"
    assert genotypes[-1] != genotypes[0]


@pytest.mark.slow
def test_the_likelihood_of_the_labels_makes_the_digits_better(tmp_path):
    more = ["strategy=gradient", "search.evaluations=12", "search.finalists=8"]
    run = evolve([*OVERRIDES, *more], tmp_path / "run")
    fitness = [row["fitness"] for row in read_history(tmp_path / "run" / "history.jsonl")]
    assert max(fitness) > fitness[0] + 0.03  # the accuracy, and not the likelihood
    assert all(0 <= one <= 1 for one in fitness)
    assert accuracy(run, "evolved") > accuracy(run, "task_arithmetic") + 0.05


def test_what_is_wrong_is_said():
    setting = Setting([0.0], [1.0], [0.5])

    def descent(**changes):
        given = {"learning_rate": 0.1, "batch_size": 1, "diversity": 0.0, "steps": 1}
        GradientDescent(setting, **given | changes)

    with pytest.raises(ValueError, match=r"learning_rate must be above 0, not 0"):
        descent(learning_rate=0)
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1"):
        descent(batch_size=0)
    with pytest.raises(ValueError, match="diversity must be a finite number of at least 0, not -1"):
        descent(diversity=-1)
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1, not 0"):
        descent(steps=0)
    with pytest.raises(ValueError, match=r"'entrpy'; use likelihood or entropy.*mean entropy"):
        descent(objective="entrpy")
    with pytest.raises(ValueError, match=r"object has no reference answers.*objective=entropy"):
        GradientDescent(setting).check(object())
    with pytest.raises(ValueError, match="a BoundSize has no predictions"):
        GradientDescent(setting, objective="entropy").check(BoundSize(4))


def test_what_has_no_finite_gradient_stays_and_is_said():
    class Broken:
        def gradient(self, key, genotype):
            return Slope(jnp.array([np.nan, 1.0], jnp.float32), 1)

    descent = Descent([0, 0], [1, 1], "likelihood", 0.1, 1, 0.0)
    descent._bound = Broken()
    with pytest.warns(NonFiniteGradientWarning, match="likelihood is not finite on some items"):
        state = descent.run(jax.random.key(0), descent.init([0.5, 0.5]), 1)
    np.testing.assert_allclose(state.genotype, [0.5, 0.4], atol=1e-6)


def test_a_descent_goes_on_from_its_state_to_the_same_bits():
    descent = Descent([0, 0], [1, 1], "likelihood", 0.1, 1, 0.0)
    descent._bound = Bowl([0.2, 0.9])
    keys = jax.random.split(jax.random.key(0), 6)
    states = [descent.init([0.5, 0.5])]
    for key in keys:
        states.append(descent.run(key, states[-1], 2))
    again = jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), states[3])
    for key in keys[3:]:
        again = descent.run(key, again, 2)
    jax.tree.map(np.testing.assert_array_equal, again, states[-1])
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), again) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), states[0]
    )
    assert abs(float(again.genotype[1]) - 0.9) < 0.2
