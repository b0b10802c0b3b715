"""Steps that make children of genotypes: the choice of parents, crossover and mutation.

The crossover is that of M2N2 (Abrantes et al., 2025), https://arxiv.org/abs/2508.16204: spherical
interpolation (Shoemake, 1985) of two whole genotypes, or of each group of their genes by itself, by
w before a split point and by 1 − w after.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.params.types import Array, Bool, Float, Genotype, Int, PRNGKey

_PARALLEL = 1e-6
"""The sine of an angle below which two genotypes are interpolated linearly."""


class Groups(NamedTuple):
    """Groups of genes, which are crossed one by one.

    Attributes:
        of: The number of each gene's group.
        place: The place of each gene among those of its group.
        sizes: The number of genes of each group.
    """

    of: Int[np.ndarray, " dims"]
    place: Int[np.ndarray, " dims"]
    sizes: Int[np.ndarray, " groups"]


def groups_of(numbers: Any) -> Groups:
    """Gather the genes of each group, from the number of each gene's group, ``[dims]``."""
    _, of, sizes = np.unique(np.asarray(numbers), return_inverse=True, return_counts=True)
    first = np.cumsum(sizes) - sizes
    place = np.empty(of.size, np.int32)
    order = np.argsort(of, kind="stable")
    place[order] = np.arange(of.size) - first[of[order]]
    return Groups(of.astype(np.int32), place, sizes.astype(np.int32))


def slerp(
    x: Genotype,
    y: Genotype,
    w: Float[Array, ""],
    split: Int[Array, "*groups"] | None = None,
    groups: Groups | None = None,
) -> Genotype:
    """Spherical interpolation between whole genotypes, with one angle ω:

        a x + b y,   a = sin((1 − w) ω) / sin ω,   b = sin(w ω) / sin ω,

    and b x + a y from the gene ``split`` on. It is linear where ω has no sine or a genotype is
    zero. With ``groups`` each group of genes is interpolated so, with an angle and a split point of
    its own.
    """
    a, b = _weights(x, y, w, groups)
    if groups is not None:
        a, b = a[groups.of], b[groups.of]
    if split is None:
        return a * x + b * y
    before = jnp.arange(x.size) < split if groups is None else groups.place < split[groups.of]
    return jnp.where(before, a, b) * x + jnp.where(before, b, a) * y


def _weights(
    x: Genotype, y: Genotype, w: Float[Array, ""], groups: Groups | None
) -> tuple[Float[Array, "*groups"], Float[Array, "*groups"]]:
    """The weights a and b of `slerp`, of the whole genotypes or of each group."""

    def dot(one: Genotype, other: Genotype) -> Float[Array, "*groups"]:
        if groups is None:
            return jnp.dot(one, other)
        return jax.ops.segment_sum(one * other, groups.of, groups.sizes.size)

    norms = jnp.sqrt(dot(x, x)) * jnp.sqrt(dot(y, y))
    cosine = dot(x, y) / jnp.where(norms > 0, norms, 1.0)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    sine = jnp.sin(angle)
    turned = (sine > _PARALLEL) & (norms > 0)
    sine = jnp.where(turned, sine, 1.0)
    a = jnp.where(turned, jnp.sin((1 - w) * angle) / sine, 1 - w)
    return a, jnp.where(turned, jnp.sin(w * angle) / sine, w)


def crossover(
    key: PRNGKey,
    x: Genotype,
    y: Genotype,
    split_point: bool = True,
    groups: Groups | None = None,
) -> Genotype:
    """Interpolate by `slerp` with w ~ U(0, 1) and a split point uniform over the genes.

    With ``groups`` each has a split point that is uniform over its own genes, and w is that of all.
    """
    key_split, key_w = jax.random.split(key)
    genes = np.int32(x.size) if groups is None else groups.sizes
    split = jax.random.randint(key_split, genes.shape, 0, genes) if split_point else None
    return slerp(x, y, jax.random.uniform(key_w), split, groups)


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
