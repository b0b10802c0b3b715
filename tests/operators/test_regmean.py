"""RegMean against its formula in float64, and against the regression that it solves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import constant_coefficients, regmean
from evojax_merge.params.tree import flatten
from tests.trees import init_statistics, merge

PATH = "layers.fc.weight"


def transcription(matrices, grams, weights, alpha=0.9):
    """Eq. 2 and section 3.3 of arXiv 2212.09849 for W of [in, out], transposed."""
    scaled = [
        weight * (alpha * gram + (1 - alpha) * np.diag(np.diag(gram)))
        for weight, gram in zip(weights, grams, strict=True)
    ]
    right = sum(gram @ matrix.T for gram, matrix in zip(scaled, matrices, strict=True))
    return np.linalg.solve(sum(scaled), right).T


def tree(seed):
    rng = np.random.default_rng(seed)
    return {
        "layers": {"fc": {"weight": np.float32(rng.normal(size=(3, 4, 6)))}},
        "norm": {"weight": np.float32(rng.normal(size=5))},
    }


def inputs(seed, items=40):
    """Of three layers, of very different sizes."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(3, 6, 6)) * np.logspace(-1, 1, 6)
    return rng.normal(size=(3, items, 6)) @ mixing


def evidence(seed, **options):
    x = inputs(seed, **options)
    return {PATH: np.float32(x.mT @ x / x.shape[1])}


def merged(sources, grams, weights=None, **options):
    operator = regmean("items.jsonl", **options)
    coefficients = constant_coefficients(operator, sources[0], len(sources))
    if weights is not None:
        for values in coefficients.values():
            values["weight"] = jnp.float32(weights)
    statistics = init_statistics(operator, None, sources, grams)
    run = jax.jit(lambda s, c, t: merge(operator, None, s, c, t, 0))
    return flatten(run(sources, coefficients, statistics))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.2, 3.0, 0.0)])
def test_it_is_the_papers_formula(weights, alpha):
    sources = tuple(tree(seed) for seed in range(3))
    grams = tuple(evidence(10 + seed) for seed in range(3))
    found = merged(sources, grams, weights, alpha=alpha)
    for layer in range(3):
        want = transcription(
            [np.float64(source["layers"]["fc"]["weight"][layer]) for source in sources],
            [np.float64(gram[PATH][layer]) for gram in grams],
            weights,
            alpha,
        )
        np.testing.assert_allclose(found[PATH][layer], want, rtol=2e-3, atol=1e-4)
    norms = np.stack([source["norm"]["weight"] for source in sources])
    want = np.average(norms, axis=0, weights=weights)
    np.testing.assert_allclose(found["norm.weight"], want, rtol=1e-5, atol=1e-6)


def test_it_is_the_least_squares_fit_to_what_the_sources_compute():
    sources, grams = (tree(0), tree(1)), (evidence(2), evidence(3))
    found = merged(sources, grams, alpha=1.0)[PATH]
    x = np.concatenate([inputs(2), inputs(3)], axis=1)
    y = np.concatenate(
        [inputs(2) @ sources[0]["layers"]["fc"]["weight"].mT,
         inputs(3) @ sources[1]["layers"]["fc"]["weight"].mT], axis=1
    )  # fmt: skip
    for layer in range(3):
        _, residual, *_ = np.linalg.lstsq(x[layer], y[layer])
        ours = np.square(x[layer] @ np.float64(found[layer]).T - y[layer]).sum()
        assert ours <= residual.sum() * 1.001


def test_equal_sources_merge_to_themselves_to_the_bit():
    sources = (tree(0),) * 3
    found = merged(sources, tuple(evidence(seed) for seed in range(3)))
    for path, leaf in flatten(sources[0]).items():
        np.testing.assert_array_equal(found[path], leaf)


@pytest.mark.parametrize("alpha", [0.9, 1.0])
@pytest.mark.parametrize("kind", ["zero", "one item", "constant"])
def test_singular_evidence_stays_finite_and_between_the_sources(kind, alpha):
    sources = (tree(0), tree(1))
    gram = {
        "zero": np.zeros((3, 6, 6), np.float32),
        "one item": evidence(2, items=1)[PATH],
        "constant": np.ones((3, 6, 6), np.float32),
    }[kind]
    found = merged(sources, ({PATH: gram}, {PATH: gram}), alpha=alpha)[PATH]
    # Both sources read the same: the fit is the average, whatever the inputs leave open.
    want = (sources[0]["layers"]["fc"]["weight"] + sources[1]["layers"]["fc"]["weight"]) / 2
    np.testing.assert_allclose(found, want, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_a_population_under_vmap_is_its_candidates_one_by_one():
    operator, sources = regmean("x"), (tree(0), tree(1))
    statistics = init_statistics(operator, None, sources, (evidence(2), evidence(3)))

    def one(weights):
        coefficients = {path: {"weight": weights} for path in flatten(sources[0])}
        return flatten(merge(operator, None, sources, coefficients, statistics, 0))

    population = jnp.float32([[0.1, 0.9], [0.5, 0.5], [0.0, 0.0]])
    together = jax.vmap(one)(population)
    for index, weights in enumerate(population):
        for path, leaf in one(weights).items():
            np.testing.assert_allclose(together[path][index], leaf, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_gradient_of_the_weights_is_the_slope():
    operator, sources = regmean("x"), (tree(0), tree(1))
    statistics = init_statistics(operator, None, sources, (evidence(2), evidence(3)))

    def total(weights):
        coefficients = {path: {"weight": weights} for path in flatten(sources[0])}
        leaves = flatten(merge(operator, None, sources, coefficients, statistics, 0))
        return jnp.square(leaves[PATH]).sum()

    weights, step = jnp.float32([0.4, 0.7]), jnp.float32([0.02, 0.0])
    slope = (total(weights + step) - total(weights - step)) / 0.04
    gradient = jax.grad(total)(weights)
    np.testing.assert_allclose(gradient[0], slope, rtol=1e-2)
    assert np.isfinite(jax.grad(total)(jnp.zeros(2))).all()


def test_wide_layers_of_a_population_do_not_wait_for_each_other():
    """Batched triangular solves of one program dead-locked on two cores (jaxlib 0.10.2)."""
    rng = np.random.default_rng(0)
    sources = [
        {name: {"weight": np.float32(rng.normal(size=(128, 128)))} for name in "ab"}
        for _ in range(2)
    ]
    gram = {f"{name}.weight": np.eye(128, dtype=np.float32) for name in "ab"}
    operator = regmean("x")
    statistics = init_statistics(operator, None, tuple(sources), (gram, gram))

    @jax.jit
    @jax.vmap
    def run(weights):
        coefficients = {path: {"weight": weights} for path in gram}
        return merge(operator, None, tuple(sources), coefficients, statistics, 0)

    for _ in range(20):
        merged = jax.block_until_ready(run(jnp.ones((8, 2))))
    want = (sources[0]["a"]["weight"] + sources[1]["a"]["weight"]) / 2
    np.testing.assert_allclose(merged["a"]["weight"][3], want, rtol=1e-5, atol=1e-5)


def test_alpha_is_a_share():
    with pytest.raises(ValueError, match=r"alpha must be a finite number from 0 to 1, not 1\.5"):
        regmean("x", alpha=1.5)
