"""Functions that change a fitness before an evosax algorithm sees it."""

from collections.abc import Callable

import jax.numpy as jnp
from evosax.core import fitness_shaping as shaping
from evosax.types import Params, Population, State
from jaxtyping import Array, Float

from evojax_merge.documents.arguments import check_option
from evojax_merge.params.types import Fitness

_SHAPINGS: dict[str, Callable[..., Fitness]] = {
    "identity": shaping.identity_fitness_shaping_fn,
    "centered_rank": shaping.centered_rank_fitness_shaping_fn,
    "normalize": shaping.normalize_fitness_shaping_fn,
    "standardize": shaping.standardize_fitness_shaping_fn,
}

# Beyond this the float32 squares that some algorithms take would overflow.
_LARGEST = 1e18


def fitness_shaping(name: str) -> Callable[..., Fitness]:
    """One of evosax's ways to shape a generation's fitness, for algorithms that take one.

    Args:
        name: ``identity``, ``centered_rank``, ``normalize`` or ``standardize``.

    Raises:
        ValueError: Evosax has none of this name.
    """
    check_option("fitness_shaping", name, list(_SHAPINGS))
    return _SHAPINGS[name]


def to_cost(
    fitness: Fitness, violation: Float[Array, " pop"], worst: Float[Array, ""]
) -> tuple[Float[Array, " pop"], Float[Array, ""]]:
    """Flip the sign, since evosax minimises, penalise, and rank what is not finite last.

        cost = −fitness + violation · (max fitness − min fitness, or 1 where all are equal)

    A cost that is not finite becomes slightly more than the worst finite one, not infinity: some
    algorithms use the values, and infinity would turn their state to NaN.

    Args:
        violation: How far each sample is from the box (see `box`).
        worst: A cost that the replacement must also exceed, −inf for none.

    Returns:
        The costs, and the worst finite cost including ``worst``.
    """
    finite = jnp.isfinite(fitness)
    cost = jnp.clip(-fitness.astype(jnp.float32), -_LARGEST, _LARGEST)
    highest = jnp.max(jnp.where(finite, cost, -_LARGEST))
    lowest = jnp.min(jnp.where(finite, cost, _LARGEST))
    spread = jnp.where(highest > lowest, highest - lowest, 1.0)
    cost = jnp.minimum(cost + spread * violation, _LARGEST)
    worst = jnp.maximum(worst, jnp.max(jnp.where(finite, cost, -jnp.inf)))
    step = 2 * jnp.finfo(jnp.float32).eps * jnp.maximum(jnp.abs(worst), 1.0)
    return jnp.where(finite, cost, worst + step), worst


def rank_weights(population: Population, fitness: Fitness, state: State, params: Params) -> Fitness:
    """Recombination weights by rank; candidates of equal fitness share theirs evenly."""
    return share_by_rank(fitness, params.weights)


def share_by_rank(
    cost: Float[Array, " pop"], weights: Float[Array, " pop"]
) -> Float[Array, " pop"]:
    """Give each candidate the weight of its rank; candidates of equal cost share theirs evenly.

    An accuracy on a few hundred items ties often. evosax gives each of a tied pair the weight of
    the truncated mean rank, so that a tie for the best counts the largest weight twice and the
    weights no longer sum to what the algorithm's constants assume.

    Args:
        cost: The cost of each candidate.
        weights: The weights by rank, that of the least cost first.
    """
    order = jnp.argsort(cost)
    ordered = cost[order]
    first = jnp.searchsorted(ordered, ordered, side="left")
    last = jnp.searchsorted(ordered, ordered, side="right")
    total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(weights)])
    shared = (total[last] - total[first]) / (last - first)
    # A lone candidate takes its weight itself: a difference of sums would lose its last bits.
    shared = jnp.where(last - first == 1, weights[first], shared)
    return jnp.zeros_like(shared).at[order].set(shared)
