import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evojax_merge.operators import ties
from tests.operators import reference
from tests.operators.leaf import merge_leaf, tensors

WEIGHTS, DENSITIES = [0.3, 1.0, 0.6], [0.2, 0.55, 0.9]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("rescale", ["l1", None])
@pytest.mark.parametrize("lam", [1.0, 0.7])
def test_ties_is_the_paper(normalize, rescale, lam):
    base, sources = tensors(3)
    merged = merge_leaf(
        ties(normalize, rescale, lam), base, sources, weight=WEIGHTS, density=DENSITIES
    )
    expected = reference.ties(base, sources, WEIGHTS, DENSITIES, normalize, rescale, lam)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    count=st.integers(1, 4),
    seed=st.integers(0, 50),
)
def test_ties_is_the_paper_for_any_shape_weights_and_densities(shape, count, seed):
    base, sources = tensors(count, shape, seed)
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.05, 1, count)
    densities = rng.integers(0, 1001, count) / 1000
    merged = merge_leaf(ties(), base, sources, weight=weights, density=densities)
    expected = reference.ties(base, sources, weights, densities)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=2e-6)


def test_the_example_of_the_consensus():
    base = jnp.zeros(4)
    sources = (
        jnp.array([2.0, 1.0, -1.0, 0.0]),
        jnp.array([-1.0, -1.0, -3.0, 0.0]),
        jnp.array([1.0, 0.0, 1.0, 0.0]),
    )
    merged = merge_leaf(ties(), base, sources, weight=[1.0] * 3, density=[1.0] * 3)
    # Positive 2 and 1; a sum of zero counts as positive; negative -1 and -3; nothing agrees.
    np.testing.assert_array_equal(merged, [1.5, 1.0, -2.0, 0.0])


@pytest.mark.parametrize("weight", [0.3, 1 / 3, 0.7])
def test_equal_and_opposite_task_vectors_elect_the_positive_sign(weight):
    # A fused multiply-add would leave a rounding residue here, of either sign.
    vector = jnp.asarray(np.random.default_rng(0).standard_normal(1000), jnp.float32)
    base = jnp.zeros(1000)
    merged = merge_leaf(
        ties(), base, (vector, -vector), weight=[weight, weight], density=[1.0, 1.0]
    )
    np.testing.assert_allclose(merged, jnp.abs(vector), rtol=1e-6)


def test_weights_of_opposite_sign_cannot_blow_an_element_up():
    base, (source,) = jnp.zeros(1), (jnp.array([0.05]),)
    merged = merge_leaf(ties(), base, (source, -source), weight=[1.0, -0.999], density=[1.0, 1.0])
    np.testing.assert_allclose(merged, source, rtol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 1e-12, 1e-9])
def test_vanishing_weights_leave_the_base(weight):
    base, sources = tensors(2)
    merged = merge_leaf(ties(), base, sources, weight=[weight] * 2, density=[0.5] * 2)
    np.testing.assert_allclose(merged, base, rtol=0, atol=1e-8)


def test_layers_have_coefficients_and_quantiles_of_their_own():
    base, sources = tensors(2, (3, 8, 9))
    weights, densities = np.random.default_rng(0).uniform(0.2, 0.9, (2, 2, 3)).round(3)
    merged = merge_leaf(ties(), base, sources, layered=True, weight=weights, density=densities)
    for layer in range(3):
        alone = [source[layer] for source in sources]
        expected = reference.ties(base[layer], alone, weights[:, layer], densities[:, layer])
        np.testing.assert_allclose(merged[layer], expected, rtol=0, atol=1e-6)
