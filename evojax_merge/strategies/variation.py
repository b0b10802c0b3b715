"""Simulated binary crossover and polynomial mutation, in their bounded forms.

[1] Deb & Agrawal, Simulated Binary Crossover for Continuous Search Space, 1995
[2] Deb & Goyal, A Combined Genetic Adaptive Search (GeneAS), 1996
[3] Deb, An Efficient Constraint Handling Method for Genetic Algorithms, 2000 (with bounds),
    https://doi.org/10.1016/S0045-7825(99)00389-8

Parents and children lie in the box [lower, upper]. Differences are taken before roots are, so that
steps keep their precision close to a bound, where float32 resolves far less than its unit.
"""

import jax
import jax.numpy as jnp

from evojax_merge.params.types import Array, Bool, Float, Genotype, Population, PRNGKey


def simulated_binary_crossover(
    key: PRNGKey,
    one: Population,
    other: Population,
    lower: Genotype,
    upper: Genotype,
    rate: float,
    eta: float,
) -> tuple[Population, Population]:
    """Make two children of each pair of parents, spread around the middle as their parents are.

    Args:
        one, other: The parents, pair by pair.
        rate: The probability that a pair is crossed. Each of its genes then is with probability
            1/2, and the children exchange it with probability 1/2.
        eta: The distribution index; the larger it is, the closer children are to their parents.
    """
    key_pair, key_gene, key_spread, key_swap = jax.random.split(key, 4)
    low, high = jnp.minimum(one, other), jnp.maximum(one, other)
    apart = high - low
    crossed = jax.random.bernoulli(key_pair, rate, (one.shape[0], 1))
    crossed = crossed & jax.random.bernoulli(key_gene, 0.5, one.shape)
    crossed &= apart > 0  # equal genes have no spread to imitate
    safe = jnp.where(crossed, apart, 1.0)
    u = jax.random.uniform(key_spread, one.shape)

    def widened(margin: Float[Array, "pop dims"]) -> Float[Array, "pop dims"]:
        """β − 1 of [3], for a child that may go as far as the bound."""
        alpha = 2.0 - (1.0 + 2.0 * margin / safe) ** -(eta + 1.0)
        inside = u <= 1.0 / alpha
        ratio = jnp.where(inside, u * alpha, 1.0 / jnp.where(inside, 1.0, 2.0 - u * alpha))
        return jnp.expm1(jnp.log(ratio) / (eta + 1.0))

    below = low - 0.5 * widened(low - lower) * apart
    above = high + 0.5 * widened(upper - high) * apart
    swap = jax.random.bernoulli(key_swap, 0.5, one.shape)
    first = jnp.where(crossed, jnp.where(swap, above, below), one)
    second = jnp.where(crossed, jnp.where(swap, below, above), other)
    return jnp.clip(first, lower, upper), jnp.clip(second, lower, upper)


def polynomial_mutation(
    key: PRNGKey,
    population: Population,
    lower: Genotype,
    upper: Genotype,
    rate: float,
    eta: float,
    surely: Bool[Array, " pop"],
) -> Population:
    """Move genes towards a bound by a share of the distance that is polynomially distributed.

    Args:
        rate: The probability that a gene is moved.
        eta: The distribution index; the larger it is, the smaller are the steps.
        surely: Whether at least one gene of a candidate is moved for certain.
    """
    key_gene, key_one, key_step = jax.random.split(key, 3)
    size, dims = population.shape
    moved = jax.random.bernoulli(key_gene, rate, (size, dims))
    chosen = jax.random.randint(key_one, (size,), 0, dims)
    moved |= surely[:, None] & (chosen[:, None] == jnp.arange(dims))
    u = jax.random.uniform(key_step, (size, dims))
    to_lower = (population - lower) / (upper - lower)
    to_upper = (upper - population) / (upper - lower)

    def share(room: Population, towards: Population) -> Population:
        """The step towards a bound, ``room`` away, as a share of the range from −1 to 0."""
        reach = jnp.expm1((eta + 1.0) * jnp.log1p(-room))
        return jnp.expm1(jnp.log1p(jnp.maximum(towards * reach, -1.0)) / (eta + 1.0))

    step = jnp.where(u <= 0.5, share(to_lower, 1 - 2 * u), -share(to_upper, 2 * u - 1))
    return jnp.clip(population + jnp.where(moved, step * (upper - lower), 0.0), lower, upper)
