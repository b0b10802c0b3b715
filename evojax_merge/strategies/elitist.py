"""The frame of strategies whose archive keeps elites by a quality and descriptors."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number, check_switch
from evojax_merge.params.types import Array, Bool, Float, Genotype, Population, PRNGKey
from evojax_merge.strategies.base import Hears, check_names, default_population_size
from evojax_merge.strategies.breeding import ArchiveStrategy, State
from evojax_merge.strategies.elites import Elites
from evojax_merge.strategies.mating import crossover as cross
from evojax_merge.strategies.mating import draw_pair, mutate, proportional_or_uniform
from evojax_merge.strategies.setting import Setting


class ElitistStrategy(ArchiveStrategy):
    """The base class of strategies that breed elites; a subclass says who is one.

    Args:
        setting: The search that the strategy is for. ``sigma`` and ``mutation`` are shares of its
            span, and its objectives are the tasks.
        fitness: The task whose score is the quality; None for the mean of all scores heard.
        descriptors: The tasks whose scores are the descriptors; None for all but ``fitness``.
        population_size: How many children a generation has; None for 4 + ⌊3 ln dims⌋.
        founders: How many samples around the start come first, where `seed` gives none; None for a
            generation of them.
        sigma: The standard deviation of the founders, a share of the span.
        mutation: The standard deviation of the mutation, a share of the span; None for ``sigma``,
            or for 0 when the search starts from given genotypes and children come from two parents.
        selection: Parents are drawn ``uniform`` among the elites, or in proportion to ``quality``.
        crossover: A child has two parents, as in M2N2; otherwise one.

    Raises:
        ValueError: A task does not exist, a number is out of place, or `make_box` refuses the box.
    """

    hears: Hears = "objectives"

    def __init__(
        self,
        setting: Setting,
        *,
        fitness: str | None,
        descriptors: Sequence[str] | None,
        population_size: int | None,
        founders: int | None,
        sigma: float,
        mutation: float | None,
        selection: str,
        crossover: bool,
    ) -> None:
        box = setting.box(sigma)
        size = default_population_size(box.start.size)
        size = size if population_size is None else population_size
        self.objectives = tuple(setting.objectives)
        if isinstance(descriptors, str):
            descriptors = [descriptors]
        if not isinstance(descriptors, Sequence | None):
            raise ValueError(f"strategy.descriptors is {descriptors!r}; give a list of tasks")
        check_names([] if fitness is None else [fitness], self.objectives, "strategy.fitness")
        check_names(descriptors or (), self.objectives, "strategy.descriptors")
        if descriptors is None:
            descriptors = [name for name in self.objectives if name != fitness]
        if len(set(descriptors)) < len(descriptors):
            raise ValueError(f"strategy.descriptors names a task twice: {', '.join(descriptors)}")
        if selection not in ("uniform", "quality"):
            raise ValueError(f"strategy.selection must be uniform or quality, not {selection!r}")
        if mutation is not None:
            check_number("strategy.mutation", mutation, 0)
        check_switch("strategy.crossover", crossover)
        self._names = tuple(descriptors)
        self._columns = np.array([self.objectives.index(name) for name in descriptors], np.int32)
        self._quality = None if fitness is None else self.objectives.index(fitness)
        self._mutation = None if mutation is None else float(mutation)
        self._selection = selection
        self._crossover = crossover
        super().__init__(box, size, size if founders is None else founders)

    def front(self, state: State) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the elites ``[n, dims]`` and their scores ``[n, tasks]``."""
        elites = jax.tree.map(np.asarray, state.archive)
        kept = elites.quality > -np.inf
        return elites.genotypes[kept], elites.objectives[kept]

    @property
    def mutation(self) -> float:
        """The standard deviation of the mutation, a share of the span."""
        if self._mutation is not None:
            return self._mutation
        return 0.0 if self._seeds is not None and self._crossover else self.box.sigma

    def _quality_of(self, scores: Float[Array, "*pop tasks"]) -> Float[Array, "*pop"]:
        """What elites compete by: the score of a task, or the mean of all."""
        return jnp.mean(scores, axis=-1) if self._quality is None else scores[..., self._quality]

    def _any(self, archive: Elites) -> Bool[Array, ""]:
        return archive.occupied.any()

    def _breed(self, key: PRNGKey, state: State) -> Population:
        elites = state.archive
        weights = elites.occupied.astype(jnp.float32)
        if self._selection == "quality":
            positive = jnp.where(elites.occupied, jnp.maximum(elites.quality, 0.0), 0.0)
            weights = proportional_or_uniform(positive, elites.occupied)
        keys = jax.random.split(key, self.population_size)
        return jax.vmap(self._child, in_axes=(0, None, None))(keys, elites, weights)

    def _child(self, key: PRNGKey, elites: Elites, weights: Float[Array, " elites"]) -> Genotype:
        key_parents, key_crossover, key_mutation = jax.random.split(key, 3)
        first, second = draw_pair(key_parents, weights)
        child = elites.genotypes[first]
        if self._crossover:
            child = cross(key_crossover, child, elites.genotypes[second])
        if self.mutation:
            child = mutate(key_mutation, child, self.mutation * self.box.span)
        return child
