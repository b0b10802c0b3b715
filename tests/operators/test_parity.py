"""The same merges by mergekit 0.1.5 (`make parity` installs it): float32, in memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from evojax_merge.operators import dare_linear, dare_ties, linear, slerp, task_arithmetic, ties
from tests.operators.leaf import merge_leaf, tensors

pytestmark = pytest.mark.parity

WEIGHTS, DENSITIES = [0.3, 1.0, 0.6], [0.2, 0.55, 0.9]
SHAPES = [(40, 50), (7,), (1,), (6, 2, 3, 3)]


@pytest.fixture(scope="session")
def mergekit():
    """Merges one tensor with a method of mergekit."""
    try:
        from mergekit.merge_methods import merge_tensors
    except ImportError as error:
        pytest.fail(f"mergekit 0.1.5 cannot be imported ({error}): run `make parity`")

    def run(method, base, sources, **parameters):
        inputs = [torch.from_numpy(np.array(x)) for x in (*base, *sources)]
        with torch.no_grad():
            merged = merge_tensors(
                inputs, method, base_index=0 if base else None, parameters=parameters
            )
        return merged.numpy()

    return run


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("normalize", [True, False])
def test_linear(mergekit, shape, normalize):
    _, sources = tensors(3, shape)
    ours = merge_leaf(linear(normalize), None, sources, weight=WEIGHTS)
    theirs = mergekit("linear", (), sources, weight=WEIGHTS, normalize=normalize)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.01, 0.3, 2.0])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_slerp(mergekit, shape, scale, t):
    _, sources = tensors(2, shape, scale=scale)
    ours = merge_leaf(slerp(), None, sources, t=t)
    theirs = mergekit("slerp", sources[:1], sources[1:], t=t)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("lam", [1.0, 0.4])
def test_task_arithmetic(mergekit, shape, normalize, lam):
    base, sources = tensors(3, shape)
    ours = merge_leaf(task_arithmetic(normalize, lam), base, sources, weight=WEIGHTS)
    theirs = mergekit(
        "task_arithmetic",
        (base,),
        sources,
        weight=WEIGHTS,
        normalize=normalize,
        **{"lambda": lam},
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("densities", [DENSITIES, [0.0, 0.001, 1.0]])
def test_ties(mergekit, shape, normalize, rescale, densities):
    base, sources = tensors(3, shape)
    ours = merge_leaf(
        ties(normalize, rescale, 0.7), base, sources, weight=WEIGHTS, density=densities
    )
    theirs = mergekit(
        "ties",
        (base,),
        sources,
        weight=WEIGHTS,
        density=densities,
        normalize=normalize,
        rescale=rescale,
        **{"lambda": 0.7},
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("density", [0.1, 0.25, 0.5])
def test_ties_keeps_as_many_of_equal_magnitudes(mergekit, density):
    # Which of the equals mergekit keeps is left to an unstable sort.
    rng = np.random.default_rng(0)
    base = np.zeros((64, 64), np.float32)
    source = rng.integers(-3, 4, base.shape).astype(np.float32)
    ours = merge_leaf(ties(), base, (source,), weight=[1.0], density=[density])
    theirs = mergekit("ties", (base,), (source,), weight=[1.0], density=[density])
    np.testing.assert_array_equal(np.sort(np.abs(ours), None), np.sort(np.abs(theirs), None))


@pytest.mark.parametrize("factory", [dare_linear, dare_ties])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("rescale", [True, False])
def test_dare_in_distribution(mergekit, factory, normalize, rescale):
    draws = 300
    base, sources = tensors(3, (32, 32))
    operator = factory(normalize, rescale)

    def one(seed):
        return merge_leaf(operator, base, sources, seed=seed, weight=WEIGHTS, density=DENSITIES)

    ours = np.asarray(jax.jit(jax.vmap(one))(jnp.arange(draws, dtype=jnp.uint32))) - base
    torch.manual_seed(0)
    theirs = np.stack(
        [
            mergekit(
                operator.name,
                (base,),
                sources,
                weight=WEIGHTS,
                density=DENSITIES,
                normalize=normalize,
                rescale=rescale,
            )
            for _ in range(draws)
        ]
    )
    theirs -= base

    def kept(change):
        return (np.abs(change) > 1e-6).mean()

    error = np.sqrt((ours.var(0) + theirs.var(0)) / draws)
    scores = (ours.mean(0) - theirs.mean(0)) / error
    # 1024 normal numbers: none beyond 5, their mean square near 1 (two in 45 as its spread).
    assert np.abs(scores).max() < 5
    assert 0.75 < np.mean(scores**2) < 1.25
    assert abs(ours.var(0).mean() / theirs.var(0).mean() - 1) < 0.02
    assert abs(kept(ours) - kept(theirs)) < 0.005


@pytest.mark.parametrize("factory", [dare_linear, dare_ties])
def test_dare_at_density_one_is_exact(mergekit, factory):
    base, sources = tensors(3)
    operator = factory()
    ours = merge_leaf(operator, base, sources, weight=WEIGHTS, density=[1.0] * 3)
    theirs = mergekit(operator.name, (base,), sources, weight=WEIGHTS, density=[1.0] * 3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
