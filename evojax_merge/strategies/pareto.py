"""Pareto dominance: ranks, crowding and reference directions, with shapes that data cannot change.

[1] Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, 2002,
    https://doi.org/10.1109/4235.996017
[2] Das & Dennis, Normal-Boundary Intersection, 1998, https://doi.org/10.1137/S1052623496307510
[3] Kukkonen & Deb, Improved Pruning of Non-Dominated Solutions Based on Crowding Distance for
    Bi-Objective Optimization Problems, 2006, https://doi.org/10.1109/CEC.2006.1688443

Costs are minimised; one that is not finite stands for a candidate that failed, which every other
dominates.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Costs = Float[Array, "pop objectives"]


def finite_costs(objectives: Costs) -> Costs:
    """Minus the objectives; a row in which one is not finite is infinite in all."""
    sound = jnp.isfinite(objectives).all(axis=1, keepdims=True)
    return jnp.where(sound, -objectives.astype(jnp.float32), jnp.inf)


def dominates(costs: Costs) -> Bool[Array, "pop pop"]:
    """Whether candidate i is nowhere worse than candidate j and somewhere better."""
    mine, other = costs[:, None], costs[None, :]
    return (mine <= other).all(axis=-1) & (mine < other).any(axis=-1)


def non_dominated_rank(costs: Costs) -> Int[Array, " pop"]:
    """The front of each candidate, 0 for the best.

    Fronts are taken off one after another ([1], III.A).
    """
    dominated_by = dominates(costs).T
    unranked = jnp.full(costs.shape[0], -1, jnp.int32)

    def peel(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rank, front = carry
        remain = rank < 0
        free = remain & ~(dominated_by & remain).any(axis=1)
        return jnp.where(free, front, rank), front + 1

    return jax.lax.while_loop(lambda carry: (carry[0] < 0).any(), peel, (unranked, jnp.int32(0)))[0]


def crowding_distance(costs: Costs, rank: Int[Array, " pop"]) -> Float[Array, " pop"]:
    """How far apart a candidate's neighbours in its front are, summed over objectives ([1], III.B).

    Each objective is divided by its range within the front; one that is constant there counts
    nothing. The ends of a front are infinitely far. Of candidates with equal costs the first alone
    has a distance and the others have 0, so that copies go first: scores of a few hundred items tie
    often.
    """
    return _crowding(costs, rank, _copies(costs))


def whole_and_last(
    rank: Int[Array, " pop"], count: int
) -> tuple[Bool[Array, " pop"], Bool[Array, " pop"]]:
    """Who is of a front that is whole among the first ``count``, and who of the one cut there."""
    up_to = (rank[:, None] >= rank[None]).sum(axis=1)  # candidates no worse in rank
    before = (rank[:, None] > rank[None]).sum(axis=1)
    return up_to <= count, (up_to > count) & (before < count)


def survivors_of(costs: Costs, rank: Int[Array, " pop"], count: int) -> Int[Array, " count"]:
    """The ``count`` candidates that survive: whole fronts, then what is left of the next one.

    The most crowded of that front is taken off again and again, by the distances of those that are
    left ([3]). All distances at once, as in [1], would take off both of a close pair.
    """
    size, copy = costs.shape[0], _copies(costs)
    whole, last = whole_and_last(rank, count)

    def take_off(kept: Bool[Array, " pop"]) -> Bool[Array, " pop"]:
        distance = _crowding(costs, jnp.where(kept, rank, size), copy)
        distance = jnp.where(kept & last, distance, jnp.inf)
        least = distance == distance.min()
        latest = size - 1 - jnp.argmax((least & kept & last)[::-1])
        return kept.at[latest].set(False)

    kept = jax.lax.while_loop(lambda kept: kept.sum() > count, take_off, whole | last)
    return jnp.argsort(~kept, stable=True)[:count]


def _copies(costs: Costs) -> Bool[Array, " pop"]:
    """Whether a candidate has the costs of an earlier one, or failed."""
    equal = (costs[:, None] == costs[None, :]).all(axis=-1)
    return jnp.tril(equal, -1).any(axis=1) | ~jnp.isfinite(costs).all(axis=1)


def _crowding(
    costs: Costs, rank: Int[Array, " pop"], copy: Bool[Array, " pop"]
) -> Float[Array, " pop"]:
    """The crowding distances; a rank that is the number of candidates is no front and left out."""
    size = costs.shape[0]
    group = jnp.where(copy, size, rank)

    def of_objective(cost: Float[Array, " pop"]) -> Float[Array, " pop"]:
        cost = jnp.where(copy, 0.0, cost)
        low = jax.ops.segment_min(cost, group, size + 1)[group]
        high = jax.ops.segment_max(cost, group, size + 1)[group]
        order = jnp.lexsort((cost, group))
        ordered, groups = cost[order], group[order]
        gap = ordered[2:] - ordered[:-2]
        inner = (groups[2:] == groups[1:-1]) & (groups[:-2] == groups[1:-1])
        gaps = jnp.full(size, jnp.inf).at[1:-1].set(jnp.where(inner, gap, jnp.inf))
        distance = jnp.zeros(size).at[order].set(gaps)
        return jnp.where(high > low, distance / jnp.where(high > low, high - low, 1.0), 0.0)

    total = jax.vmap(of_objective, in_axes=1)(costs).sum(axis=0)
    # Where a whole front is one point every objective is constant: it is its own end.
    alone = jnp.zeros(size + 1, jnp.int32).at[group].add(1)[group] == 1
    return jnp.where(copy, 0.0, jnp.where(alone, jnp.inf, total))


def das_dennis(objectives: int, partitions: int) -> Float[np.ndarray, "directions objectives"]:
    """All points of the unit simplex whose coordinates are multiples of 1 / partitions ([2]).

    There are C(partitions + objectives − 1, objectives − 1) of them.
    """
    slots = range(partitions + objectives - 1)
    bars = np.array(list(itertools.combinations(slots, objectives - 1)), np.int64)
    edges = np.full((len(bars), 1), -1), np.full((len(bars), 1), partitions + objectives - 1)
    counts = np.diff(np.hstack([edges[0], bars.reshape(len(bars), -1), edges[1]])) - 1
    return (counts / partitions).astype(np.float32)
