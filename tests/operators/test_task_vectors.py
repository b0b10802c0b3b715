"""The task-vector family beyond TIES and DARE, which have files of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import (
    breadcrumbs,
    breadcrumbs_ties,
    consensus_ta,
    della,
    della_linear,
    magmax,
    magmin,
    ram,
    ramplus,
    sce,
    sign_only,
    tall_mask,
    task_vectors,
)
from evojax_merge.operators.steps.random_mask import keep, layer_keys, leaf_key
from tests.operators import reference
from tests.operators.leaf import PATH, merge_leaf, tensors

WEIGHTS, DENSITIES = [0.3, 1.0, 0.6], [0.2, 0.55, 0.9]
GAMMAS, EPSILONS = [0.01, 0.0, 0.2], [0.1, 0.15, 0.05]


@pytest.mark.parametrize(("factory", "elect"), [(breadcrumbs, False), (breadcrumbs_ties, True)])
@pytest.mark.parametrize("shape", [(30, 40), (7,), (1,)])
def test_breadcrumbs_is_the_paper(factory, elect, shape):
    base, sources = tensors(3, shape)
    merged = merge_leaf(
        factory(lam=0.7), base, sources, weight=WEIGHTS, density=DENSITIES, gamma=GAMMAS
    )
    expected = reference.breadcrumbs(base, sources, WEIGHTS, DENSITIES, GAMMAS, elect, lam=0.7)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rescale", "order"), [("l1", 1), ("l2", 2), ("linf", np.inf)])
@pytest.mark.parametrize("gamma", [0.0, 0.02, 0.7])
def test_breadcrumbs_rescaled_keep_the_norm(rescale, order, gamma):
    base, sources = tensors(1)
    merged = merge_leaf(
        breadcrumbs(rescale=rescale), base, sources, weight=[1.0], density=[0.4], gamma=[gamma]
    )
    moved, vector = (np.ravel(x - base) for x in (merged, sources[0]))
    assert np.count_nonzero(np.abs(moved) > 1e-6) == int(0.4 * vector.size)
    np.testing.assert_allclose(
        np.linalg.norm(moved, order), np.linalg.norm(vector, order), rtol=1e-4
    )


@pytest.mark.few(2)
@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_della_keeps_by_rank_within_the_row(layered, epsilon):
    base, sources = tensors(1, (2, 8, 500))
    shape = base.shape if layered else (16, 500)
    base, source = base.reshape(shape), sources[0].reshape(shape)
    draws = 600

    def one(seed):
        return merge_leaf(
            della_linear(rescale=None),
            base,
            (source,),
            layered,
            seed,
            weight=[1.0],
            density=[0.4],
            epsilon=[epsilon],
        )

    kept = np.zeros(shape)
    for part in np.array_split(np.arange(draws, dtype=np.uint32), 6):
        kept += (np.asarray(jax.jit(jax.vmap(one))(part)) != base).sum(axis=0)
    vector = reference.task_vector(base, source).reshape(16, 500)
    probability = reference.della_probabilities(vector, 0.4, epsilon)
    kept = kept.reshape(16, 500)
    error = np.sqrt(probability * (1 - probability) / draws)
    scores = (kept / draws - probability) / error
    assert np.abs(scores).max() < 5.5
    assert abs(np.mean(scores**2) - 1) < 0.1
    ranks = np.argsort(np.argsort(np.abs(vector), axis=1), axis=1) / 499
    slope = np.polyfit(ranks.ravel(), (kept / draws).ravel(), 1)[0]
    assert abs(slope - 2 * epsilon) < 0.02


def test_della_ties_is_the_election_on_its_own_masks():
    base, sources = tensors(3)
    operator = della(rescale="inverse")
    merged = merge_leaf(
        operator, base, sources, seed=4, weight=WEIGHTS, density=DENSITIES, epsilon=EPSILONS
    )
    key = leaf_key(4, PATH)
    vectors = []
    for index, (source, density, epsilon) in enumerate(
        zip(sources, DENSITIES, EPSILONS, strict=True)
    ):
        vector = reference.task_vector(base, source)
        probability = reference.della_probabilities(vector, density, epsilon)
        ranks = np.asarray(operator.init(base, sources, False)[index].rank, np.int64)
        unit = 2.0**24
        held = np.rint((density - epsilon) * unit) + np.rint(2 * epsilon / 255 * unit) * ranks
        held = held / unit
        # 8 bits hold a rank to half of 1/255.
        np.testing.assert_allclose(held, probability, atol=epsilon / 255 + 1e-5)
        mask = np.asarray(keep(key, index, base.shape, jnp.asarray(held, jnp.float32)))
        vectors.append(np.where(mask, vector / held, 0.0))
    expected = base + reference.elect_and_merge(vectors, WEIGHTS, True)
    agree = np.isclose(merged, expected, rtol=0, atol=2e-6)
    # An element whose probability is within rounding of its draw may fall either way.
    assert agree.mean() > 0.999


@pytest.mark.parametrize(("rescale", "order"), [("l1", 1), ("l2", 2)])
def test_della_keeps_the_norm_in_expectation(rescale, order):
    base, sources = tensors(1, (40, 500))
    merged = merge_leaf(
        della_linear(rescale=rescale), base, sources, weight=[1.0], density=[0.4], epsilon=[0.3]
    )
    moved, vector = (np.ravel(x - base) for x in (merged, sources[0]))
    np.testing.assert_allclose(
        np.linalg.norm(moved, order), np.linalg.norm(vector, order), rtol=0.02
    )


def test_della_takes_the_nearest_epsilon_and_says_what_does_not_go_together():
    base, sources = tensors(1, (40, 50))
    merged = merge_leaf(
        della_linear(rescale="inverse"), base, sources, weight=[1.0], density=[0.9], epsilon=[0.3]
    )
    assert np.isfinite(merged).all()
    conflict = della().conflict
    assert "density 0.9 +- epsilon 0.3 must stay within (0, 1)" in conflict(
        {"density": 0.9, "epsilon": 0.3}
    )
    assert conflict({"density": 0.5, "epsilon": 0.3}) is None
    assert conflict({"density": 1.0, "epsilon": 0.3}) is None


def test_a_stacked_leaf_is_drawn_by_the_keys_of_its_layers():
    base, sources = tensors(2, (3, 8, 9))
    values = {"weight": [1.0, 0.5], "density": [0.4, 0.5], "epsilon": [0.1, 0.2]}
    whole = merge_leaf(della(), base, sources, layered=True, seed=5, **values)
    keys = layer_keys(leaf_key(5, PATH), 3)
    operator = della()
    for layer in range(3):
        alone = tuple(source[layer] for source in sources)
        arrays = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
        merged = operator.merge(
            base[layer], alone, arrays, operator.init(base[layer], alone, False), keys[layer]
        )
        np.testing.assert_allclose(whole[layer], merged, rtol=0, atol=1e-6)


def test_counting_signs_lets_the_majority_win():
    base = jnp.zeros(3)
    sources = (
        jnp.array([3.0, 1.0, 0.0]),
        jnp.array([-1.0, -1.0, 1.0]),
        jnp.array([-1.0, 0.0, 1.0]),
    )
    weights = [1.0] * 3
    counted = merge_leaf(task_vectors("none", "count"), base, sources, weight=weights)
    np.testing.assert_array_equal(counted, [-2.0, 1.0, 2.0])
    summed = merge_leaf(task_vectors("none", "sum"), base, sources, weight=weights)
    np.testing.assert_array_equal(summed, [3.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trim": "largest"}, "trim is 'largest'; use one of none, magnitude"),
        ({"consensus": True}, "consensus is True; use one of none, sum, count"),
        ({"rescale": "l3"}, "rescale is 'l3'; use one of None, inverse, l1"),
        ({"trim": "random", "rescale": "linf"}, "linf is no expectation"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        task_vectors(**settings)


@pytest.mark.parametrize("shape", [(30, 40), (5,)])
def test_magmax_and_magmin_choose_by_magnitude(shape):
    base, sources = tensors(3, shape)
    for factory, largest in ((magmax, True), (magmin, False)):
        merged = merge_leaf(factory(), base, sources, weight=WEIGHTS)
        expected = reference.magmax(base, sources, WEIGHTS, largest)
        np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layered", [False, True])
def test_sign_only_is_one_bit_and_a_scale(layered):
    base, sources = tensors(3, (4, 5, 6))
    merged = merge_leaf(sign_only(), base, sources, layered, weight=WEIGHTS)
    if layered:
        expected = [
            reference.sign_only(base[i], [s[i] for s in sources], WEIGHTS) for i in range(4)
        ]
    else:
        expected = reference.sign_only(base, sources, WEIGHTS)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


def sparse_sources(shape=(30, 40)):
    base, sources = tensors(3, shape)
    rng = np.random.default_rng(1)
    return base, tuple(
        np.where(rng.random(shape) < 0.4, source, base).astype(np.float32) for source in sources
    )


@pytest.mark.parametrize("weights", [[1.0] * 3, WEIGHTS])
def test_ram_is_the_paper(weights):
    base, sources = sparse_sources()
    merged = merge_leaf(ram(), base, sources, weight=weights)
    expected = reference.ram(base, sources, weights)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)
    merged = merge_leaf(ramplus(), base, sources, weight=weights, r=0.3, alpha=0.5)
    expected = reference.ram(base, sources, weights, r=0.3, alpha=0.5)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("least", [0, 1, 2, 3])
def test_consensus_ta_keeps_what_enough_tasks_need(least):
    base, sources = tensors(3)
    merged = merge_leaf(
        consensus_ta(least), base, sources, weight=WEIGHTS, threshold=[0.4, 0.2, 0.6]
    )
    expected = reference.consensus_ta(base, sources, WEIGHTS, [0.4, 0.2, 0.6], least)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


def test_a_tall_mask_gives_back_one_task():
    base, sources = sparse_sources()
    merged = merge_leaf(tall_mask(1), base, sources, weight=[1.0] * 3, threshold=[0.4] * 3)
    vectors = [reference.task_vector(base, source) for source in sources]
    total = sum(vectors)
    mask = np.abs(vectors[1]) >= 0.4 * np.abs(total - vectors[1])
    np.testing.assert_allclose(merged, base + np.where(mask, total, 0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("topk", [0.0, 0.1, 0.333, 1.0])
@pytest.mark.parametrize("scale", [0.1, 1e-4])
@pytest.mark.parametrize("weights", [[1.0] * 3, WEIGHTS])
def test_sce_is_the_paper(topk, scale, weights):
    base, sources = tensors(3, (30, 40), scale=scale)
    merged = merge_leaf(sce(), base, sources, select_topk=topk, weight=weights)
    expected = reference.sce(base, sources, topk, weights)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


def test_what_sce_finds_equal_in_all_sources_does_not_vary():
    """The mean of three equal numbers may be rounded to another one."""
    base, (common, *others) = tensors(4, (60, 70))
    differ = np.random.default_rng(0).random(base.shape) < 0.1
    sources = tuple(np.where(differ, other, common) for other in (common, *others[:2]))
    merged = merge_leaf(sce(), base, sources, select_topk=0.5, weight=[1.0] * 3)
    varies = np.ptp(np.stack([source - base for source in sources]), axis=0) > 0
    assert int(0.5 * varies.sum()) == np.count_nonzero(np.asarray(merged) != base)


@pytest.mark.parametrize("weights", [[-0.1, 1.0], [-0.5, -0.5], [0.3, -0.3]])
def test_negative_weights_of_sce_do_not_blow_up(weights):
    base, sources = tensors(2)
    merged = np.asarray(merge_leaf(sce(), base, sources, select_topk=1.0, weight=weights))
    largest = np.abs(np.stack(sources) - base).max(axis=0)
    assert (np.abs(merged - base) <= 1.001 * largest + 1e-6).all()


def test_sce_selects_exactly_and_layer_by_layer():
    base, sources = sparse_sources((3, 10, 40))
    for step in (1, 37, 500, 999):
        merged = merge_leaf(
            sce(), base, sources, layered=True, select_topk=[step / 1000] * 3, weight=[1.0] * 3
        )
        for layer in range(3):
            alone = [source[layer] for source in sources]
            expected = reference.sce(base[layer], alone, step / 1000, [1.0] * 3)
            np.testing.assert_allclose(merged[layer], expected, rtol=0, atol=1e-6)
