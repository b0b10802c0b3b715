"""CycleQD (Kuroki et al., 2025).

[1] Agent Skill Acquisition for Large Language Models via CycleQD, https://arxiv.org/abs/2410.14735

There is an archive of elites for every task. In it the task's score is the quality, and the scores
of the other tasks are the descriptors. The task whose archive gives the parents rotates from
generation to generation; children may become elites of every archive. With task vectors
τ = genotype − start,

    crossover   τ = Σ_k w_k τ_k / Σ_k w_k,   w_k ~ N(1, 0.01)
    mutation    τ + U diag(u · rate · s) Vᵀ   for each matrix τ = U diag(s) Vᵀ,   u ~ U(0, 1).
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number
from evojax_merge.params.types import Array, Bool, Float, Genotype, Int, Population, PRNGKey
from evojax_merge.strategies.base import default_population_size
from evojax_merge.strategies.breeding import ArchiveStrategy, State
from evojax_merge.strategies.elites import Elites, check_memory, empty_elites, make_descriptors
from evojax_merge.strategies.mating import draw_pair, mutate
from evojax_merge.strategies.setting import Setting

WEIGHT_DEVIATION = 0.01
"""The standard deviation of the weights of a crossover, as in [1]."""

_LOWEST, _RANGE = 0.5, 0.8


class CycleQD(ArchiveStrategy):
    """An archive for each task; quality and descriptors rotate.

    Departures from [1]: several children a generation, all of the same archive; a score outside its
    range counts as the nearest end, with a warning; and the mutation is along the singular vectors
    of the child's own task vector, where the published code uses the experts'. Elites are drawn as
    that code draws them (see `elite_weights`).

    Args:
        setting: The search that the strategy is for. Task vectors are measured from its start,
            ``sigma`` is a share of its span, and its objectives are the tasks, at least two.
        bins: How many bins each task has as a descriptor, or one number for all; 15 in [1].
        ranges: The range [low, high] of each task as a descriptor, or one for all.
        population_size: How many children a generation has; None for 4 + ⌊3 ln dims⌋.
        founders: How many samples around the start come first, where `seed` gives none; None for a
            generation of them.
        sigma: The standard deviation of the founders, a share of the span.
        mutation: ``svd`` of the matrices, ``gaussian`` of every gene, or None.
        rate: The strength of the mutation; None for 0.1 with ``svd`` ([1]), and for ``sigma`` with
            ``gaussian``.

    Raises:
        ValueError: There are fewer than two tasks, ``svd`` is given in a space without matrices, a
            range or number is out of place, the archives take too much memory, or `make_box`
            refuses the box.
    """

    hears = "objectives"

    def __init__(
        self,
        setting: Setting,
        *,
        bins: Any = 15,
        ranges: Any = (0.0, 1.0),
        population_size: int | None = None,
        founders: int | None = None,
        sigma: float = 1 / 6,
        mutation: Literal["svd", "gaussian"] | None = "gaussian",
        rate: float | None = None,
    ) -> None:
        box = setting.box(sigma)
        size = default_population_size(box.start.size)
        size = size if population_size is None else population_size
        self.objectives = tuple(setting.objectives)
        if len(self.objectives) < 2:
            raise ValueError(
                "strategy=cycle_qd rotates quality and descriptors among tasks; give two tasks "
                f"or more (given: {', '.join(self.objectives) or 'none'})"
            )
        whole = make_descriptors(self.objectives, bins, ranges)
        tasks = range(len(self.objectives))
        others = [[other for other in tasks if other != task] for task in tasks]
        self._others = np.array(others)
        self._descriptors = [whole.among(places) for places in others]
        self._whole = whole
        self.cells = max(one.cells for one in self._descriptors)
        check_memory(self.cells * len(self.objectives), box.start.size)
        if mutation not in ("svd", "gaussian", None):
            raise ValueError(f"strategy.mutation must be svd, gaussian or null, not {mutation!r}")
        if mutation == "svd" and not setting.matrices:
            raise ValueError(
                "strategy.mutation=svd needs a space whose genotypes hold matrices (space=weights);"
                " use strategy.mutation=gaussian"
            )
        self._matrices = tuple(setting.matrices)
        self._mutation = mutation
        if rate is None:
            rate = 0.1 if mutation == "svd" else box.sigma
        check_number("strategy.rate", rate, 0)
        self._rate = float(rate)
        super().__init__(box, size, size if founders is None else founders)

    def front(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Return the elites of all archives ``[n, dims]``, each once, and scores ``[n, tasks]``."""
        grids = jax.tree.map(np.asarray, state.archive)
        elites = grids.quality > -np.inf
        genotypes, objectives = grids.genotypes[elites], grids.objectives[elites]
        _, first = np.unique(genotypes, axis=0, return_index=True)
        return genotypes[first], objectives[first]

    def _empty(self) -> Elites:
        """The archives of all tasks, on a leading axis."""
        grid = empty_elites(self.cells, self.dims, len(self.objectives))
        tasks = len(self.objectives)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (tasks, *leaf.shape)), grid)

    def _any(self, archive: Elites) -> Bool[Array, ""]:
        return archive.occupied.any()

    def _breed(self, key: PRNGKey, state: State) -> Population:
        task = state.generation % len(self.objectives)
        grid = jax.tree.map(lambda leaf: leaf[task], state.archive)
        weights = elite_weights(grid.quality, self._bins()[task], grid.occupied)
        keys = jax.random.split(key, self.population_size)
        return jax.vmap(self._child, in_axes=(0, None, None))(keys, grid, weights)

    def _child(self, key: PRNGKey, grid: Elites, weights: Float[Array, " cells"]) -> Genotype:
        key_parents, key_weights, key_mutation = jax.random.split(key, 3)
        pair = jnp.stack(draw_pair(key_parents, weights))
        w = 1 + WEIGHT_DEVIATION * jax.random.normal(key_weights, (2,))
        vector = w @ (grid.genotypes[pair] - self.box.start) / jnp.sum(w)
        if self._mutation == "svd":
            vector = mutate_matrices(key_mutation, vector, self._matrices, self._rate)
        elif self._mutation == "gaussian":
            vector = mutate(key_mutation, vector, self._rate * self.box.span)
        return self.box.start + vector

    def _enter(self, archive: Elites, genotype: Genotype, scores: Array) -> Elites:
        cells = [
            descriptors.cell(scores[others])
            for descriptors, others in zip(self._descriptors, self._others, strict=True)
        ]
        add = jax.vmap(Elites.add, in_axes=(0, 0, None, None, 0))
        return add(archive, jnp.stack(cells), genotype, scores, scores)

    def _check(self, told: Float[np.ndarray, "pop tasks"]) -> None:
        self._whole.warn_outside(self.objectives, told)

    def _bins(self) -> Int[Array, "tasks cells descriptors"]:
        """The bins of every cell of every task's archive; cells that it does not have have 0."""
        bins = np.zeros((len(self.objectives), self.cells, self._others.shape[1]), np.int32)
        for task, descriptors in enumerate(self._descriptors):
            bins[task, : descriptors.cells] = descriptors.all_indices()
        return jnp.asarray(bins)


def elite_weights(
    quality: Float[Array, " cells"],
    bins: Int[Array, "cells descriptors"],
    occupied: Bool[Array, " cells"],
) -> Float[Array, " cells"]:
    """The weights by which elites are drawn: Π γ(v) over v, the quality and each descriptor's bin,

        γ(v) = 0.5 + 0.8 (v − min) / (max − min)   over the elites, 1 where they are equal,

    which prefers those that are good at all tasks. The formula is that of the published code; [1]
    gives 0.5 and 0.8.
    """

    def gamma(values: Float[Array, " cells"]) -> Float[Array, " cells"]:
        low = jnp.min(values, where=occupied, initial=jnp.inf)
        high = jnp.max(values, where=occupied, initial=-jnp.inf)
        spread = jnp.where(high > low, high - low, 1.0)
        return jnp.where(high > low, _LOWEST + _RANGE * (values - low) / spread, 1.0)

    weights = gamma(quality) * jnp.prod(jax.vmap(gamma)(bins.T.astype(jnp.float32)), axis=0)
    return jnp.where(occupied, weights, 0.0)


def mutate_matrices(
    key: PRNGKey, vector: Genotype, matrices: Sequence[tuple[int, int, int]], rate: float
) -> Genotype:
    """Stretch each matrix of a task vector along its singular vectors; other genes stay."""
    for place, (offset, rows, columns) in enumerate(matrices):
        part = jax.lax.dynamic_slice_in_dim(vector, offset, rows * columns)
        u, s, vt = jnp.linalg.svd(part.reshape(rows, columns), full_matrices=False)
        stretch = rate * jax.random.uniform(jax.random.fold_in(key, place), s.shape)
        part += ((u * (stretch * s)) @ vt).ravel()
        vector = jax.lax.dynamic_update_slice_in_dim(vector, part, offset, 0)
    return vector
