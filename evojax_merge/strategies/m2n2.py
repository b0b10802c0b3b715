"""M2N2, model merging with natural niches (Abrantes et al., 2025).

[1] Competition and Attraction Improve Model Fusion, https://arxiv.org/abs/2508.16204

The members of an archive compete for items: with s_ij what member i scores on item j,

    F_ij = s_ij / z_j,   z_j = (Σ_i s_ij)^α,   fitness_i = Σ_j F_ij,

so that an item which few can solve is worth more to them. The first parent is drawn in proportion
to fitness, the second in proportion to what it would add to the first, Σ_j max(0, F_2j − F_1j)
(attraction). Their child is a spherical interpolation with an evolving boundary (`mating`),
mutated when the search began from scratch, and takes the place of the worst of archive and child.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import (
    MOST_CANDIDATES,
    check_number,
    check_option,
    check_switch,
    check_whole,
)
from evojax_merge.params.types import Array, Bool, Float, Genotype, Int, Population, PRNGKey
from evojax_merge.strategies.breeding import ArchiveStrategy, State
from evojax_merge.strategies.mating import (
    Groups,
    crossover,
    draw,
    groups_of,
    mutate,
    proportional_or_uniform,
)
from evojax_merge.strategies.setting import Setting


class Archive(NamedTuple):
    """The members, what each scores on each item, and which places hold one."""

    members: Float[Array, "archive dims"]
    scores: Float[Array, "archive items"]
    occupied: Bool[Array, " archive"]


class M2N2(ArchiveStrategy):
    """Natural niches: members compete for items, and those that complement each other attract.

    Departures from [1]: where ``population_size`` asks for several children a generation, all come
    from one archive and enter it one after another; genes stay within the bounds; where no member
    complements the first parent (0 / 0 in [1]) the second is drawn in proportion to fitness, and
    where no member scores anything parents are drawn uniformly. A candidate with an item that is
    not finite does not enter the archive.

    Args:
        setting: The search that the strategy is for. ``sigma`` and ``mutation`` are shares of its
            span, and members compete for its items.
        population_size: How many children a generation has; 1 in [1].
        archive_size: How many members the archive has; 20 in [1].
        founders: How many samples around the start come first, where `seed` gives none; 2 in [1].
        sigma: The standard deviation of the founders, a share of the span; 0.01 in [1], on weights.
        mutation: The standard deviation of the mutation, a share of the span; None for ``sigma``,
            or for 0 when the search starts from given genotypes, as in [1].
        alpha: The strength of the competition; 0 for none, which is a genetic algorithm.
        attraction: Draw the second parent by what it adds to the first; otherwise by fitness.
        crossover: Cross two parents; otherwise a child is its first parent, mutated.
        split: Where a crossover is split: at one gene of the ``whole`` genotype, or at one of each
            ``group`` of genes, which is then interpolated by itself, as [1] does with the attention
            of a UNet and the rest of it; with ``none`` one weight holds for the whole genotype.

    Raises:
        ValueError: A number is out of its range, the genes have no groups to split, or `make_box`
            refuses the box.
    """

    hears = "items"

    def __init__(
        self,
        setting: Setting,
        *,
        population_size: int = 1,
        archive_size: int = 20,
        founders: int = 2,
        sigma: float = 0.01,
        mutation: float | None = None,
        alpha: float = 1.0,
        attraction: bool = True,
        crossover: bool = True,
        split: Literal["whole", "group", "none"] = "whole",
    ) -> None:
        self.items = check_whole("the number of items", setting.items, 1)
        self.archive_size = check_whole("strategy.archive_size", archive_size, 2, MOST_CANDIDATES)
        check_number("strategy.alpha", alpha, 0)
        self.alpha = float(alpha)
        if mutation is not None:
            check_number("strategy.mutation", mutation, 0)
        self._mutation = None if mutation is None else float(mutation)
        for name, switch in (("attraction", attraction), ("crossover", crossover)):
            check_switch(f"strategy.{name}", switch)
        check_option("strategy.split", split, ("whole", "group", "none"))
        self._attraction = attraction
        self._crossover = crossover
        self._split_point = split != "none"
        self._groups = _groups(setting) if split == "group" else None
        super().__init__(setting.box(sigma), population_size, founders)

    @property
    def mutation(self) -> float:
        """The standard deviation of the mutation, a share of the span."""
        if self._mutation is not None:
            return self._mutation
        return 0.0 if self._seeds is not None and self._crossover else self.box.sigma

    def _empty(self) -> Archive:
        return Archive(
            jnp.zeros((self.archive_size, self.dims)),
            jnp.zeros((self.archive_size, self.items)),
            jnp.zeros(self.archive_size, bool),
        )

    def _any(self, archive: Archive) -> Bool[Array, ""]:
        return archive.occupied.any()

    def _breed(self, key: PRNGKey, state: State) -> Population:
        shares = share(state.archive.scores, self.alpha)
        keys = jax.random.split(key, self.population_size)
        return jax.vmap(self._child, in_axes=(0, None, None))(keys, state.archive, shares)

    def _child(
        self, key: PRNGKey, archive: Archive, shares: Float[Array, "archive items"]
    ) -> Genotype:
        key_parents, key_crossover, key_mutation = jax.random.split(key, 3)
        first, second = parents(key_parents, shares, archive.occupied, self._attraction)
        child = archive.members[first]
        if self._crossover:
            other = archive.members[second]
            child = crossover(key_crossover, child, other, self._split_point, self._groups)
        if self.mutation:
            child = mutate(key_mutation, child, self.mutation * self.box.span)
        return child

    def _enter(self, archive: Archive, genotype: Genotype, scores: Array) -> Archive:
        return compete(archive, genotype, scores, self.alpha)

    def _check(self, told: Float[np.ndarray, "pop items"]) -> None:
        if told.shape[1] != self.items:
            raise ValueError(f"told {told.shape[1]} items, but the strategy is for {self.items}")
        if (told < 0).any():
            raise ValueError(
                "strategy=m2n2 divides each item among those who solve it, so that scores must be "
                f"at least 0, and there is {np.nanmin(told):g}; use a task that counts right "
                "answers, or another strategy"
            )


def _groups(setting: Setting) -> Groups:
    """The groups of genes that have a split point each.

    Raises:
        ValueError: There are not two of them.
    """
    found = None if setting.groups is None else groups_of(setting.groups)
    if found is None or found.sizes.size < 2:
        raise ValueError(
            "strategy.split=group gives a split point to each group of genes, and this space has "
            "no two groups; choose one that has, as space=unet_attention, space=parameter_groups, "
            "or space=weights, give space.groups={attention: [attention], rest: '*'}, or use "
            "strategy.split=whole"
        )
    return found


def share(scores: Float[Array, "members items"], alpha: float) -> Float[Array, "members items"]:
    """The shares F that members get of each item; an item that nobody solves is worth nothing."""
    total = jnp.sum(scores, axis=0)
    return scores / jnp.where(total > 0, total, 1.0) ** alpha


def parents(
    key: PRNGKey,
    shares: Float[Array, "archive items"],
    occupied: Bool[Array, " archive"],
    attraction: bool,
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Draw the places of two parents; a place that is not occupied has no share."""
    key_first, key_second = jax.random.split(key)
    fitness = proportional_or_uniform(jnp.sum(shares, axis=1), occupied)
    first = draw(key_first, fitness)
    weights = fitness
    if attraction:
        added = jnp.sum(jnp.maximum(0.0, shares - shares[first]), axis=1)
        weights = jnp.where(jnp.any(added > 0), added, fitness)
    return first, draw(key_second, weights)


def compete(
    archive: Archive, child: Genotype, scores: Float[Array, " items"], alpha: float
) -> Archive:
    """The archive after a child was compared with its members: the worst of all is dropped.

    An empty place is worse than any child. A child with a score that is not finite is worse than
    anything.
    """
    valid = jnp.isfinite(scores).all()
    scores = jnp.where(valid, scores, 0.0)
    fitness = jnp.sum(share(jnp.concatenate([archive.scores, scores[None]]), alpha), axis=1)
    fitness = jnp.where(jnp.append(archive.occupied, True), fitness, -1.0)
    fitness = fitness.at[-1].set(jnp.where(valid, fitness[-1], -2.0))
    place = jnp.argmin(fitness)  # of a child that loses: beyond the archive, where nothing is set
    return Archive(
        archive.members.at[place].set(child, mode="drop"),
        archive.scores.at[place].set(scores, mode="drop"),
        archive.occupied.at[place].set(True, mode="drop"),
    )
