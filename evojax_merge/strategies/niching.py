"""Survival by reference directions, of NSGA-III.

[1] Deb & Jain, An Evolutionary Many-Objective Optimization Algorithm Using Reference-Point-Based
    Nondominated Sorting Approach, Part I, 2014, https://doi.org/10.1109/TEVC.2013.2281535

Costs are minimised and infinite in all objectives where a candidate failed.
"""

import jax
import jax.numpy as jnp

from evojax_merge.params.types import Array, Bool, Float, Int, PRNGKey
from evojax_merge.strategies.pareto import Costs, whole_and_last

Point = Float[Array, " objectives"]
Extremes = Float[Array, "objectives objectives"]

_TINY = 1e-6


def update_extremes(
    costs: Costs, first: Bool[Array, " pop"], ideal: Point, extremes: Extremes
) -> Extremes:
    """The point nearest to each axis, among the first front and the extremes so far.

    It has the least max_j w_j (f_j − ideal_j), with w 1 on the axis and 10⁶ off it ([1], eq. 4).
    """
    count = costs.shape[1]
    points = jnp.concatenate([extremes, jnp.where(first[:, None], costs, jnp.inf)])
    beyond = points - ideal
    beyond = jnp.where(beyond < 1e-3, 0.0, beyond)
    weights = jnp.where(jnp.eye(count, dtype=bool), 1.0, 1e6)
    scalarised = jnp.max(beyond[None] * weights[:, None], axis=-1)
    return points[jnp.argmin(scalarised, axis=1)]


def nadir_point(
    costs: Costs,
    first: Bool[Array, " pop"],
    sound: Bool[Array, " pop"],
    ideal: Point,
    worst: Point,
    extremes: Extremes,
) -> Point:
    """The point at which the hyperplane through the extremes meets the axes ([1], section IV.C).

    Where there is no such plane, or it meets an axis at the ideal point or nowhere, the worst cost
    of the first front takes its place. Where that is the best one too, the worst cost of all does.

    Args:
        first: Whether each member is of the first front.
        sound: Whether each member has costs.
        worst: The greatest costs ever told.
    """
    sides = extremes - ideal
    ones = jnp.ones(ideal.shape)
    # A singular matrix gives numbers that are not finite, or that do not solve the equations.
    plane = jnp.linalg.solve(sides, ones)
    solved = jnp.isfinite(plane).all() & jnp.allclose(sides @ plane, ones, atol=1e-3)
    intercepts = 1.0 / jnp.where(solved & (plane != 0), plane, 1.0)
    usable = solved & (plane != 0).all() & (intercepts > _TINY).all()
    of_front = jnp.max(jnp.where(first[:, None], costs, -jnp.inf), axis=0)
    of_all = jnp.max(jnp.where(sound[:, None], costs, -jnp.inf), axis=0)
    nadir = jnp.where(usable, jnp.minimum(ideal + intercepts, worst), of_front)
    return jnp.where(nadir - ideal > _TINY, nadir, of_all)


def associate(
    costs: Costs, ideal: Point, nadir: Point, directions: Float[Array, "directions objectives"]
) -> tuple[Int[Array, " pop"], Float[Array, " pop"]]:
    """The reference direction nearest to each candidate, and the distance from it ([1], IV.D).

    An objective that is constant is left out, as its range is taken as 1.
    """
    extent = nadir - ideal
    scaled = (costs - ideal) / jnp.where(extent > _TINY, extent, 1.0)
    scaled = jnp.where(jnp.isfinite(scaled), scaled, 0.0)
    unit = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    along = scaled @ unit.T
    apart = scaled[:, None] - along[..., None] * unit
    distance = jnp.linalg.norm(apart, axis=-1)
    nearest = jnp.argmin(distance, axis=1)
    return nearest, jnp.take_along_axis(distance, nearest[:, None], axis=1)[:, 0]


def niche(
    key: PRNGKey,
    rank: Int[Array, " pop"],
    nearest: Int[Array, " pop"],
    distance: Float[Array, " pop"],
    directions: int,
    survivors: int,
) -> Int[Array, " survivors"]:
    """The candidates that survive ([1], algorithm 4).

    Whole fronts survive, then those of the next one in the emptiest niches. An empty niche takes
    the nearest of its candidates, another niche takes a random one. Niches that are equally empty
    take turns in random order.
    """
    key_niche, key_member = jax.random.split(key)
    turn = jax.random.uniform(key_niche, (directions,))
    lot = jax.random.uniform(key_member, rank.shape)
    taken, last = whole_and_last(rank, survivors)
    counts = jnp.zeros(directions, jnp.int32).at[nearest].add(taken.astype(jnp.int32))

    def choose(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        taken, counts = carry
        open_ = last & ~taken
        occupied = jnp.zeros(directions, bool).at[nearest].max(open_)
        emptiest = jnp.min(jnp.where(occupied, counts, jnp.iinfo(jnp.int32).max))
        chosen = jnp.argmin(jnp.where(occupied & (counts == emptiest), turn, jnp.inf))
        order = jnp.where(emptiest == 0, distance, lot)
        member = jnp.argmin(jnp.where(open_ & (nearest == chosen), order, jnp.inf))
        return taken.at[member].set(True), counts.at[chosen].add(1)

    taken, _ = jax.lax.while_loop(lambda carry: carry[0].sum() < survivors, choose, (taken, counts))
    # Those taken first, in their order; a sort of booleans keeps shapes fixed.
    return jnp.argsort(~taken, stable=True)[:survivors]
