"""AdaMerging: entropy falls, the digits get better, and the gradient is the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge import api, evolve
from evojax_merge.evolution.history import read_history
from evojax_merge.fitness import digits_task
from evojax_merge.gradient import AdaMerging, PredictionEntropy
from evojax_merge.gradient.adamerging import NonFiniteGradientWarning
from evojax_merge.models.family import MLP
from tests.checkpoints_factory import byte_tokenizer, random_tensors, tiny_config, write_checkpoint

OVERRIDES = [
    "+experiment=digits",
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
    """Two classifiers interpolated by one gene, on the digits."""
    config = MLP.config_from_hf({"model_type": "mlp", "hidden_sizes": [64, 8, 10]})
    ends = [MLP.init_params(config, jax.random.key(seed)) for seed in range(2)]

    def merge_fn(ends, genotype):
        return jax.tree.map(lambda a, b: a + genotype[0] * (b - a), *ends)

    model = type("Model", (), {"config": config, "tokenizer": None})
    task = digits_task().bind(model)
    entropy = PredictionEntropy(MLP, config, merge_fn, ends, task, batch_size, diversity)
    return entropy, lambda g: MLP.forward(config, merge_fn(ends, g), task.batches[0].inputs)


@pytest.mark.parametrize("diversity", [0.0, 1.0])
def test_what_is_descended_is_numpys_entropy_and_its_slope(diversity):
    entropy, logits = small(diversity, batch_size=10_000)
    at = np.float32([0.3])
    own, mean = entropies(logits(at))
    np.testing.assert_allclose(entropy.items(at), own - diversity * mean, rtol=1e-4, atol=1e-5)
    step = 1e-2
    ends = [entropies(logits(at + sign * step)) for sign in (-1, 1)]
    low, high = (own.mean() - diversity * mean for own, mean in ends)
    slope = entropy.gradient(jax.random.key(0), jnp.asarray(at))  # of all items: one batch
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=2e-2)


def test_items_do_not_depend_on_the_batches():
    at = np.float32([0.3])
    np.testing.assert_allclose(
        small(1.0, 7)[0].items(at), small(1.0, 10_000)[0].items(at), rtol=1e-4, atol=1e-5
    )


def test_a_step_follows_the_slope_within_the_bounds():
    entropy, _ = small(0.0)
    strategy = AdaMerging([0.0], [0.31], [0.3], learning_rate=0.1).bind(entropy)
    state = strategy.init(jax.random.key(0))
    before = -strategy.score(state.genotype[None]).mean()
    for step in range(5):
        population, state = strategy.ask(jax.random.key(step), state)
        state = strategy.tell(jax.random.key(step), population, jnp.zeros(1), state)
        assert 0 <= float(state.genotype[0]) <= np.float32(0.31)
    assert -strategy.score(state.genotype[None]).mean() < before


def accuracy(run, name):
    (result,) = [r for r in run.results if r.name == name and r.split == "test"]
    return result.score


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


def test_entropy_alone_leaves_the_most_certain_source(tmp_path):
    run = evolve([*OVERRIDES, "strategy.diversity=0", "search.evaluations=100"], tmp_path / "run")
    assert accuracy(run, "evolved") == pytest.approx(accuracy(run, "high"), abs=0.02)


@pytest.mark.slow
def test_texts_have_an_entropy_too(tmp_path):
    tokenizer = byte_tokenizer()
    config = tiny_config(vocab_size=len(tokenizer), num_hidden_layers=2)
    base = random_tensors(config, 0)
    for seed, name in enumerate(("base", "a", "b")):
        noise = random_tensors(config, seed)
        tensors = {key: base[key] + 0.2 * seed * noise[key] for key in base}
        write_checkpoint(tmp_path / name, config, tensors=tensors, tokenizer=tokenizer)
    (tmp_path / "x.jsonl").write_text('{"text": "some", "question": "q", "answer": 1}\n' * 3)
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


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match=r"learning_rate must be above 0, not 0"):
        AdaMerging([0.0], [1.0], [0.5], learning_rate=0)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        AdaMerging([0.0], [1.0], [0.5], batch_size=0)
    with pytest.raises(ValueError, match="diversity must be at least 0, not -1"):
        AdaMerging([0.0], [1.0], [0.5], diversity=-1)


def test_what_has_no_finite_gradient_stays_and_is_said():
    class Objective:
        def gradient(self, key, genotype):
            return jnp.array([np.nan, 1.0], jnp.float32)

    key = jax.random.key(0)
    strategy = AdaMerging([0, 0], [1, 1], [0.5, 0.5], learning_rate=0.1).bind(Objective())
    population, state = strategy.ask(key, strategy.init(key))
    with pytest.warns(NonFiniteGradientWarning, match="is not finite on some items"):
        state = strategy.tell(key, population, jnp.zeros(1), state)
    np.testing.assert_allclose(state.genotype, [0.5, 0.4], atol=1e-6)
