"""Steps that make children of genotypes: the choice of parents, crossover and mutation.

The crossover is that of M2N2 (Abrantes et al., 2025), https://arxiv.org/abs/2508.16204: spherical
interpolation (Shoemake, 1985) of two whole genotypes, by w before a split point and by 1 − w after.
"""

import jax
import jax.numpy as jnp

from evojax_merge.params.types import Array, Bool, Float, Genotype, Int, PRNGKey

_PARALLEL = 1e-6
"""The sine of an angle below which two genotypes are interpolated linearly."""


def slerp(
    x: Genotype, y: Genotype, w: Float[Array, ""], split: Int[Array, ""] | None = None
) -> Genotype:
    """Spherical interpolation between whole genotypes, with one angle ω:

        a x + b y,   a = sin((1 − w) ω) / sin ω,   b = sin(w ω) / sin ω,

    and b x + a y from the gene ``split`` on. It is linear where ω has no sine or a genotype is
    zero.
    """
    norms = jnp.linalg.norm(x) * jnp.linalg.norm(y)
    cosine = jnp.dot(x, y) / jnp.where(norms > 0, norms, 1.0)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    sine = jnp.sin(angle)
    turned = (sine > _PARALLEL) & (norms > 0)
    sine = jnp.where(turned, sine, 1.0)
    a = jnp.where(turned, jnp.sin((1 - w) * angle) / sine, 1 - w)
    b = jnp.where(turned, jnp.sin(w * angle) / sine, w)
    if split is None:
        return a * x + b * y
    before = jnp.arange(x.size) < split
    return jnp.where(before, a, b) * x + jnp.where(before, b, a) * y


def crossover(key: PRNGKey, x: Genotype, y: Genotype, split_point: bool = True) -> Genotype:
    """Interpolate by `slerp` with w ~ U(0, 1) and a split point uniform over the genes."""
    key_split, key_w = jax.random.split(key)
    split = jax.random.randint(key_split, (), 0, x.size) if split_point else None
    return slerp(x, y, jax.random.uniform(key_w), split)


def mutate(key: PRNGKey, genotype: Genotype, deviation: Float[Array, " *dims"] | float) -> Genotype:
    """Add normal noise to every gene."""
    return genotype + deviation * jax.random.normal(key, genotype.shape)


def draw(key: PRNGKey, weights: Float[Array, " members"]) -> Int[Array, ""]:
    """Draw a member in proportion to weights, at least one of which is positive."""
    return jax.random.choice(key, weights.size, p=weights / jnp.sum(weights))


def draw_pair(
    key: PRNGKey, weights: Float[Array, " members"]
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Draw two members in proportion to their weights, without replacement (Gumbel top-2).

    One member is drawn twice where no second has a positive weight.
    """
    if weights.size == 1:
        return jnp.int32(0), jnp.int32(0)
    scores = jnp.log(weights) + jax.random.gumbel(key, weights.shape)
    _, (first, second) = jax.lax.top_k(scores, 2)
    return first, jnp.where(weights[second] > 0, second, first)


def proportional_or_uniform(
    weights: Float[Array, " members"], among: Bool[Array, " members"]
) -> Float[Array, " members"]:
    """The weights to draw by, which are equal among some members where no weight is positive."""
    return jnp.where(jnp.any(weights > 0), weights, among.astype(weights.dtype))
