import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from pymoo.util.ref_dirs import get_reference_directions

from evojax_merge.strategies.niching import associate, nadir_point, niche, update_extremes
from evojax_merge.strategies.pareto import (
    crowding_distance,
    das_dennis,
    finite_costs,
    non_dominated_rank,
    survivors_of,
)

survivors_jit = jax.jit(survivors_of, static_argnums=2)
rank_jit, crowding_jit = jax.jit(non_dominated_rank), jax.jit(crowding_distance)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([2, 3]), st.sampled_from([1, 5]))
def test_ranks_are_pymoos(seed: int, objectives: int, decimals: int) -> None:
    costs = np.random.default_rng(seed).uniform(size=(30, objectives)).round(decimals)
    _, expected = NonDominatedSorting().do(costs, return_rank=True)
    np.testing.assert_array_equal(rank_jit(jnp.asarray(costs, jnp.float32)), expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([2, 3]))
def test_crowding_is_pymoos(seed: int, objectives: int) -> None:
    costs = np.random.default_rng(seed).uniform(size=(30, objectives)).astype(np.float32)
    rank = np.asarray(rank_jit(jnp.asarray(costs)))
    found = np.asarray(crowding_jit(jnp.asarray(costs), jnp.asarray(rank)))
    for front in np.flatnonzero(np.bincount(rank) > 1):  # pymoo gives a lone member 0
        # pymoo divides by the number of objectives.
        expected = calc_crowding_distance(costs[rank == front]) * objectives
        np.testing.assert_allclose(found[rank == front], expected, rtol=1e-4)


@pytest.mark.slow
def test_copies_and_failures_are_crowded_and_ranked_last() -> None:
    objectives = jnp.array([[1, 0], [0, 1], [1, 0], [0.5, 0.5], [np.nan, 9], [np.inf, 0], [0, 0]])
    costs = finite_costs(objectives)
    rank = non_dominated_rank(costs)
    assert rank.tolist() == [0, 0, 0, 0, 2, 2, 1]
    crowding = crowding_distance(costs, rank)
    assert crowding[2] == crowding[4] == crowding[5] == 0
    assert crowding[0] == crowding[1] == crowding[6] == np.inf
    assert crowding[3] == 2.0


@pytest.mark.slow
def test_a_constant_objective_decides_nothing() -> None:
    one = jnp.array([0.3, 0.1, 0.4, 0.2])
    costs = jnp.stack([one, 1 - one, jnp.full(4, 0.7)], axis=1)
    crowding = crowding_distance(costs, non_dominated_rank(costs))
    np.testing.assert_allclose(crowding, [4 / 3, np.inf, np.inf, 4 / 3], rtol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([2, 3]), st.sampled_from([2, 9, 20]))
def test_survivors_are_whole_fronts_and_one_thinned_member_by_member(
    seed: int, objectives: int, count: int
) -> None:
    costs = np.random.default_rng(seed).uniform(size=(24, objectives)).astype(np.float32)
    rank = np.asarray(rank_jit(jnp.asarray(costs)))
    found = set(survivors_jit(jnp.asarray(costs), jnp.asarray(rank), count).tolist())
    expected: set[int] = set()
    for front in range(rank.max() + 1):
        members, room = np.flatnonzero(rank == front), count - len(expected)
        while len(members) > room > 0:
            crowding = calc_crowding_distance(costs[members])
            if len(members) <= 2 or not np.isfinite(crowding).any():
                break  # ends alone: any of them may stay
            members = np.delete(members, np.argmin(crowding))
        if not room:
            break
        if len(members) > room:
            assert expected < found
            assert found - expected <= set(members.tolist())
            assert len(found) == count
            return
        expected |= set(members.tolist())
    assert found == expected


@pytest.mark.slow
def test_of_a_close_pair_one_survives() -> None:
    x = jnp.array([0.0, 0.3, 0.31, 0.6, 0.8, 1.0])
    costs = jnp.stack([x, 1 - x], axis=1)
    kept = survivors_of(costs, jnp.zeros(6, jnp.int32), 4)
    assert len(set(kept.tolist()) & {1, 2}) == 1
    copies = jnp.array([[0.5, 0.5]] * 3 + [[0.0, 1.0], [1.0, 0.0], [jnp.inf, jnp.inf]])
    ranks = non_dominated_rank(copies)
    assert survivors_of(copies, ranks, 3).tolist() == [0, 3, 4]
    assert survivors_of(copies, ranks, 5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("objectives", "partitions"), [(2, 1), (2, 7), (3, 12), (5, 3)])
def test_reference_directions_are_pymoos(objectives: int, partitions: int) -> None:
    expected = get_reference_directions("das-dennis", objectives, n_partitions=partitions)
    found = das_dennis(objectives, partitions)
    np.testing.assert_allclose(np.unique(found, axis=0), np.unique(expected, axis=0), atol=1e-6)
    assert len(found) == len(expected)


def test_nadir_is_where_the_plane_through_the_extremes_meets_the_axes() -> None:
    costs = jnp.array([[2.0, 0, 0], [0, 3, 0], [0, 0, 4], [0.5, 0.5, 0.5]])
    everyone, ideal = jnp.ones(4, bool), jnp.zeros(3)
    extremes = update_extremes(costs, everyone, ideal, jnp.full((3, 3), jnp.inf))
    np.testing.assert_array_equal(extremes, costs[:3])
    nadir = nadir_point(costs, everyone, everyone, ideal, jnp.full(3, 9.0), extremes)
    np.testing.assert_allclose(nadir, [2, 3, 4], rtol=1e-5)


def test_normalisation_survives_constant_objectives_and_equal_candidates() -> None:
    for costs in (jnp.array([[0.0, 1, 5], [1, 0, 5], [0.5, 0.5, 5]]), jnp.ones((3, 3))):
        everyone, ideal = jnp.ones(3, bool), costs.min(axis=0)
        extremes = update_extremes(costs, everyone, ideal, jnp.full((3, 3), jnp.inf))
        nadir = nadir_point(costs, everyone, everyone, ideal, costs.max(axis=0), extremes)
        _, distance = associate(costs, ideal, nadir, jnp.asarray(das_dennis(3, 4)))
        assert np.isfinite(nadir).all()
        assert np.isfinite(distance).all()


def test_the_emptiest_niche_takes_its_nearest() -> None:
    rank = jnp.array([0, 0, 1, 1, 1, 1, 2])
    nearest = jnp.array([0, 1, 0, 2, 2, 1, 2])
    distance = jnp.array([0, 0, 0.0, 0.5, 0.1, 0.0, 0.0])
    for seed in range(5):
        kept = niche(jax.random.key(seed), rank, nearest, distance, 3, 3)
        assert sorted(kept.tolist()) == [0, 1, 4]
