import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import dare_linear, dare_ties
from evojax_merge.operators.steps.random_mask import keep, layer_keys, leaf_key
from tests.operators import reference
from tests.operators.leaf import PATH, merge_leaf, tensors

WEIGHTS, DENSITIES = [0.3, 1.0, 0.6], [0.2, 0.55, 0.9]


@pytest.mark.parametrize(("factory", "elect"), [(dare_linear, False), (dare_ties, True)])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("lam", [1.0, 0.7])
def test_dare_is_the_paper_on_its_own_masks(factory, elect, normalize, lam):
    base, sources = tensors(3)
    merged = merge_leaf(
        factory(normalize, lam=lam), base, sources, seed=4, weight=WEIGHTS, density=DENSITIES
    )
    key = leaf_key(4, PATH)
    masks = [
        np.asarray(keep(key, source, base.shape, jnp.float32(density)))
        for source, density in enumerate(DENSITIES)
    ]
    expected = reference.dare(base, sources, WEIGHTS, DENSITIES, masks, elect, normalize, lam)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=2e-6)


def test_without_rescale_what_is_kept_stays_as_it_was():
    base, sources = tensors(1)
    merged = merge_leaf(dare_linear(rescale=None), base, sources, weight=[1.0], density=[0.3])
    changed = np.asarray(merged) != base
    assert 0.2 < changed.mean() < 0.4
    np.testing.assert_allclose(merged[changed], sources[0][changed], rtol=0, atol=1e-6)


def test_the_mean_over_seeds_is_task_arithmetic_and_the_variance_is_that_of_dropping():
    base, sources = tensors(1, (10, 10))
    density, draws = 0.4, 4000
    merged = jax.jit(
        jax.vmap(
            lambda seed: merge_leaf(
                dare_linear(), base, sources, seed=seed, weight=[0.5], density=[density]
            )
        )
    )(jnp.arange(draws, dtype=jnp.uint32))
    expected = 0.5 * (sources[0] - base)
    # Each element is 0 or expected / density.
    scores = (np.asarray(merged) - base) / expected
    spread = np.sqrt((1 - density) / density)
    assert np.abs(scores.mean(0) - 1).max() < 5 * spread / np.sqrt(draws)
    np.testing.assert_allclose(scores.std(0), spread, rtol=0.1)


@pytest.mark.parametrize("factory", [dare_linear, dare_ties])
def test_a_stacked_leaf_is_merged_with_the_addresses_of_its_layers(factory):
    operator = factory()
    base, sources = tensors(2, (3, 8, 9))
    weights, densities = np.random.default_rng(0).uniform(0.2, 0.9, (2, 2, 3))
    merged = merge_leaf(operator, base, sources, layered=True, weight=weights, density=densities)
    keys = layer_keys(leaf_key(0, PATH), 3)
    for layer in range(3):
        coefficients = {
            "weight": jnp.asarray(weights[:, layer], jnp.float32),
            "density": jnp.asarray(densities[:, layer], jnp.float32),
        }
        alone = tuple(source[layer] for source in sources)
        statistics = operator.init(base[layer], alone, False)
        expected = operator.merge(base[layer], alone, coefficients, statistics, keys[layer])
        np.testing.assert_allclose(merged[layer], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("factory", [dare_linear, dare_ties])
def test_another_seed_is_another_merge_and_the_same_seed_the_same(factory):
    base, sources = tensors(2)
    values = {"weight": [0.5, 0.5], "density": [0.5, 0.5]}
    one, again, other = (
        merge_leaf(factory(), base, sources, seed=seed, **values) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (np.asarray(one) != np.asarray(other)).mean() > 0.3
