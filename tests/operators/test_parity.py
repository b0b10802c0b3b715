"""The same merges by mergekit 0.1.5 (`make parity` installs it): float32, in memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from evojax_merge.operators import (
    arcee_fusion,
    breadcrumbs,
    breadcrumbs_ties,
    dare_linear,
    dare_ties,
    della,
    della_linear,
    karcher,
    linear,
    model_stock,
    multislerp,
    nearswap,
    nuslerp,
    passthrough,
    ram,
    ramplus,
    sce,
    slerp,
    task_arithmetic,
    ties,
)
from evojax_merge.operators.steps.random_mask import leaf_key
from tests.operators import reference
from tests.operators.leaf import PATH, merge_leaf, tensors

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
@pytest.mark.parametrize("rescale", ["l1", None])
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
        rescale=rescale is not None,
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
@pytest.mark.parametrize("rescale", ["l1", None])
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
                rescale=rescale is not None,
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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factory", [breadcrumbs, breadcrumbs_ties])
@pytest.mark.parametrize("rescale", ["l1", None])
@pytest.mark.parametrize("gammas", [[0.01] * 3, [0.0, 0.3, 0.9]])
def test_breadcrumbs(mergekit, shape, factory, rescale, gammas):
    base, sources = tensors(3, shape)
    operator = factory(rescale=rescale)
    ours = merge_leaf(operator, base, sources, weight=WEIGHTS, density=DENSITIES, gamma=gammas)
    theirs = mergekit(
        operator.name,
        (base,),
        sources,
        weight=WEIGHTS,
        density=DENSITIES,
        gamma=gammas,
        rescale=rescale is not None,
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 50), (60,)])
@pytest.mark.parametrize("factory", [della, della_linear])
@pytest.mark.parametrize("rescale", ["l1", None])
def test_della_in_distribution(mergekit, shape, factory, rescale):
    draws = 200
    base, sources = tensors(3, shape)
    values = {"weight": WEIGHTS, "density": [0.3, 0.55, 0.7], "epsilon": [0.1, 0.2, 0.15]}
    operator = factory(rescale=rescale)
    statistics = operator.init(base, sources, False)

    def one(seed):
        return operator.merge(
            base,
            sources,
            {name: jnp.asarray(value, jnp.float32) for name, value in values.items()},
            statistics,
            leaf_key(seed, PATH),
        )

    ours = np.asarray(jax.jit(jax.vmap(one))(jnp.arange(draws, dtype=jnp.uint32))) - base
    torch.manual_seed(0)
    theirs = [
        mergekit(operator.name, (base,), sources, rescale=rescale is not None, **values)
        for _ in range(draws)
    ]
    theirs = np.stack(theirs) - base
    error = np.sqrt((ours.var(0) + theirs.var(0)) / draws)
    scores = (ours.mean(0) - theirs.mean(0)) / np.maximum(error, 1e-9)
    assert np.abs(scores).max() < 5
    # mergekit's norms are those of its own draw: they scatter more on 60 elements than on 2,000.
    assert 0.7 < np.mean(scores**2) < 1.3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("topk", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("scale", [0.1, 1e-4])
def test_sce(mergekit, shape, topk, scale):
    base, sources = tensors(3, shape, scale=scale)
    ours = merge_leaf(sce(), base, sources, select_topk=topk, weight=[1.0] * 3)
    theirs = mergekit("sce", (base,), sources, select_topk=topk)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_ram(mergekit, shape):
    base, sources = tensors(3, shape)
    rng = np.random.default_rng(0)
    sources = [np.where(rng.random(shape) < 0.5, s, base).astype(np.float32) for s in sources]
    ours = merge_leaf(ram(), base, sources, weight=[1.0] * 3)
    np.testing.assert_allclose(ours, mergekit("ram", (base,), sources), rtol=0, atol=1e-6)
    ours = merge_leaf(ramplus(), base, sources, weight=[1.0] * 3, r=0.3, alpha=0.5)
    theirs = mergekit("ramplus_tl", (base,), sources, r=0.3, alpha=0.5)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 50), (7,)])
@pytest.mark.parametrize("scale", [0.01, 0.3, 2.0])
def test_karcher(mergekit, shape, scale):
    _, sources = tensors(3, shape, scale=scale)
    ours = merge_leaf(karcher(), None, sources, weight=[1.0] * 3)
    theirs = mergekit("karcher", (), sources)
    # mergekit takes angles from float32 cosines: of nearly parallel tensors they are noise.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-6 * max(1, scale))


@pytest.mark.parametrize("shape", [(40, 50), (7,)])
@pytest.mark.parametrize("scale", [0.01, 0.3, 2.0])
@pytest.mark.parametrize("with_base", [False, True])
def test_multislerp(mergekit, shape, scale, with_base):
    base, sources = tensors(3, shape, scale=scale)
    ours = merge_leaf(
        multislerp(of_task_vectors=with_base), base if with_base else None, sources, weight=WEIGHTS
    )
    theirs = mergekit("multislerp", (base,) if with_base else (), sources, weight=WEIGHTS)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6 * max(1, scale))


@pytest.mark.parametrize("shape", [(40, 50), (7,)])
@pytest.mark.parametrize(
    ("along", "flatten", "row_wise"),
    [("tensor", True, False), ("rows", False, False), ("columns", False, True)],
)
@pytest.mark.parametrize("with_base", [False, True])
def test_nuslerp(mergekit, shape, along, flatten, row_wise, with_base):
    base, sources = tensors(2, shape)
    ours = merge_leaf(
        nuslerp(along, with_base), base if with_base else None, sources, weight=[0.3, 0.9]
    )
    theirs = mergekit(
        "nuslerp",
        (base,) if with_base else (),
        sources,
        weight=[0.3, 0.9],
        nuslerp_flatten=flatten,
        nuslerp_row_wise=row_wise,
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", [(40, 50), (7,)])
@pytest.mark.parametrize("filter_wise", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_model_stock(mergekit, shape, filter_wise, count):
    base, sources = tensors(count, shape)
    common = tensors(1, shape, seed=9)[1][0] - base
    sources = [source + common for source in sources]
    ours = merge_leaf(model_stock(filter_wise), base, sources, strength=1.0)
    theirs = mergekit("model_stock", (base,), sources, filter_wise=filter_wise)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("t", [0.0, 0.01, 1.0])
def test_nearswap(mergekit, shape, t):
    base, sources = tensors(1, shape)
    ours = merge_leaf(nearswap(), base, sources, t=t)
    theirs = mergekit("nearswap", (base,), sources, t=t)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 50), (70,), (4, 5, 6)])
def test_arcee_fusion(mergekit, shape):
    base, sources = tensors(1, shape, scale=1.0)
    ours = np.asarray(merge_leaf(arcee_fusion(), base, sources, spread=1.5))
    theirs = mergekit("arcee_fusion", (base,), sources)
    # An element that is within rounding of the threshold may fall either way.
    assert np.count_nonzero(~np.isclose(ours, theirs, rtol=0, atol=1e-6)) <= 1


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_passthrough(mergekit, scale):
    _, sources = tensors(1)
    ours = merge_leaf(passthrough(), None, sources, scale=scale)
    np.testing.assert_array_equal(ours, mergekit("passthrough", (), sources, scale=[scale]))


LARGE = (1500, 1500)
"""Of a 7 B model a layer's matrices are seven times larger still."""


@pytest.mark.parametrize("method", ["multislerp", "nuslerp"])
def test_of_large_tensors_ours_is_the_reference_to_more_digits(mergekit, method):
    """mergekit's float32 sums over millions of elements cost digits; ours are in float64."""
    base, sources = tensors(3, LARGE, scale=0.02)
    base, sources = 0.02 * base, tuple(0.02 * source for source in sources)
    if method == "nuslerp":
        sources = sources[:2]
    weights = WEIGHTS[: len(sources)]
    operator = {"multislerp": multislerp, "nuslerp": nuslerp}[method](of_task_vectors=True)
    ours = merge_leaf(operator, base, sources, weight=weights)
    theirs = mergekit(method, (base,), sources, weight=weights)
    if method == "nuslerp":
        expected = reference.nuslerp(*sources, weights, None, base)
    else:
        vectors = [reference.task_vector(base, source) for source in sources]
        expected = base + reference.multislerp(vectors, weights)
    largest = np.abs(expected).max()
    assert np.abs(ours - expected).max() <= 3e-7 * largest
    assert np.abs(theirs - expected).max() <= 2e-4 * largest


def test_arcee_fusion_of_ordinary_weights_is_the_reference(mergekit):
    """Its divergences are differences of nearly equal numbers, which float32 sums do not hold."""
    base, (source,) = tensors(1, (550, 550), scale=0.02)
    base, source = 0.02 * base, 0.02 * source
    expected, _ = reference.arcee_fusion(base, source)
    ours = np.asarray(merge_leaf(arcee_fusion(), base, (source,), spread=1.5))
    theirs = mergekit("arcee_fusion", (base,), (source,))

    def off(found):
        return np.mean(np.abs(found - expected) > 1e-6 * np.abs(expected).max())

    assert off(ours) <= 1e-3
    assert off(theirs) <= 0.2
