"""Every algorithm of evosax as a strategy on a bounded box.

evosax (Lange, arXiv 2212.04180) has two kinds of algorithms. A distribution-based one starts
from a mean; a population-based one starts from a population already scored. Here both start from
the box: the first generation of a population-based algorithm is the start itself and samples around
it (or uniform in the box, or the experts and mixtures of them), and the first ``tell`` initialises
the algorithm with their fitness.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from evosax.algorithms.base import EvolutionaryAlgorithm
from evosax.algorithms.population_based.base import PopulationBasedAlgorithm
from jaxtyping import Array, Bool, Float

from evojax_merge.documents.arguments import check_option, check_population_size
from evojax_merge.params.types import Fitness, Genotype, Population, PRNGKey
from evojax_merge.strategies.arguments import make_params, resolve
from evojax_merge.strategies.base import ArgumentError, Strategy, default_population_size
from evojax_merge.strategies.injection import limit_step
from evojax_merge.strategies.setting import Setting
from evojax_merge.strategies.shaping import to_cost

_AVERAGING = frozenset(
    {
        *("CMA_ES", "Sep_CMA_ES", "MA_ES", "LM_MA_ES", "Rm_ES", "CR_FM_NES"),
        *("SNES", "xNES", "Open_ES", "PGPE", "SimpleES"),
    }
)
"""evosax's classes, or ancestors of ours; those that keep the best candidate are not here."""


class State(NamedTuple):
    """The state of a search; structure, shapes and dtypes never change after ``init``."""

    algorithm: Any
    sample: Population  # what the algorithm proposed, in its own coordinates
    worst: Float[Array, ""]  # the worst finite cost told, for algorithms that keep parents
    started: Bool[Array, ""]  # whether the algorithm was told a generation


class EvosaxStrategy(Strategy):
    """An evosax algorithm searching a box; ``init``, ``ask`` and ``tell`` compile once each.

    The algorithm works in units of ``sigma`` around ``start`` (see ``box``), where evosax's
    defaults hold: the start is 0 and the deviation 1. ``std_init`` and step sizes are in that unit.

    Args:
        setting: The search that the strategy is for.
        algorithm: A class of ``evosax.algorithms``, its name, or a partial of it that carries
            constructor options, e.g. an optax optimizer.
        population_size: How many candidates a generation has; None for 4 + ⌊3 ln dims⌋, or the next
            number the algorithm accepts (some need an even one).
        sigma: The initial standard deviation as a share of the span of each gene.
        initial_population: How a population-based algorithm's first generation is drawn: ``normal``
            around the start, ``uniform`` in the box, or the ``experts`` of the setting and mixtures
            of these, with weights that are uniform among those that sum to one. The experts are the
            first particles of Zhang et al. (2025), https://arxiv.org/abs/2508.19839, which has no
            mixtures.
        strategy_params: The algorithm's own parameters by name, replacing evosax's defaults.

    Raises:
        ValueError: An algorithm, option or parameter is unknown (the message names the nearest),
            the algorithm cannot use the population, or ``make_box`` refuses the box.
    """

    uses_span = True
    injectable = True

    def __init__(
        self,
        setting: Setting,
        algorithm: str | Callable[..., EvolutionaryAlgorithm],
        *,
        population_size: int | None = None,
        sigma: float = 1 / 6,
        initial_population: Literal["normal", "uniform", "experts"] = "normal",
        strategy_params: Mapping[str, Any] | None = None,
    ) -> None:
        self.box = setting.box(sigma)
        self.dims = self.box.start.size
        check_option("initial_population", initial_population, ("normal", "uniform", "experts"))
        self._initial_population = initial_population
        self._experts = setting.experts if initial_population == "experts" else None
        self._class, self._options = resolve(algorithm)
        self._given = strategy_params or {}
        if "sampling_fn" in self._class.__init__.__annotations__:  # RandomSearch
            self._options.setdefault("sampling_fn", self._uniform)
        self.population_size = self._choose_population_size(population_size)
        if initial_population == "experts":
            self._check_experts()
        self._init_jit = jax.jit(self._init)
        self._ask_jit = jax.jit(self._ask)
        self._tell_jit = jax.jit(self._tell)
        self._inject_jit = jax.jit(self._inject)
        self._genotype_jit = jax.jit(self.box.genotype)

    @property
    def title(self) -> str:
        """The algorithm's name."""
        return str(self._class.__name__)

    def init(self, key: PRNGKey) -> State:
        """Return the state before the first generation."""
        return self._init_jit(key)

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Return one generation of genotypes, inside the bounds."""
        return self._ask_jit(key, state)

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """Return the state after a generation was scored.

        Args:
            population: The genotypes as asked. The state holds the algorithm's own sample, of which
                they are the nearest points in the box.
            fitness: The fitness of each, which is maximised. What is not finite ranks below every
                finite fitness; a generation without a finite one teaches nothing and leaves the
                state as it was.
        """
        return self._tell_jit(key, population, fitness, state)

    @property
    def name(self) -> str:
        """What messages call the strategy: the name of its algorithm."""
        return self._class.__name__

    @property
    def averages(self) -> bool:
        """Whether candidates are averaged by rank or score into the mean of a distribution.

        What is luck in their scores then averages out too.
        """
        ancestors = {base.__name__ for base in self._class.__mro__}
        return not self._populations and not _AVERAGING.isdisjoint(ancestors)

    def recommend(self, state: State) -> Genotype | None:
        """Return the mean of the distribution, inside the bounds; None where there is none.

        Where fitness is noisy, the mean of many parents is better than most of what was lucky.
        """
        mean = None if self._population_based else getattr(state.algorithm, "mean", None)
        if mean is None or jnp.shape(mean) != (self.dims,):
            return None
        return self._genotype_jit(mean)

    def inject(
        self, genotype: Genotype, population: Population, state: State
    ) -> tuple[Population, State]:
        """Put a genotype from elsewhere in the place of the last one asked, as if it had been.

        Where CMA-ES would hardly have made the step, it is told a shorter one, with the fitness of
        the whole (see `injection`).
        """
        return self._inject_jit(genotype, population, state)

    def _choose_population_size(self, asked: int | None) -> int:
        """Build for the size asked for, or for the default raised to what can be built."""
        if asked is None:
            default = default_population_size(self.dims)
            for size in range(default, 2 * default + 2):
                if self._refusal(size) is None:
                    return size
        size = check_population_size(default if asked is None else asked, 1)
        if (refusal := self._refusal(size)) is not None:
            raise ValueError(
                f"{self._class.__name__} cannot use a population of {size}: {refusal}"
            ) from refusal
        return size

    def _refusal(self, size: int) -> Exception | None:
        """Build for this size by tracing one generation, and say why that fails, or None.

        Raises:
            ArgumentError: It would fail for any size.
        """
        try:
            self._build(size)
        except ArgumentError:
            raise
        except (AssertionError, ZeroDivisionError, IndexError, TypeError, ValueError) as error:
            return error
        return None

    def _build(self, size: int) -> None:
        """Construct the algorithm and the abstract state, to which every later one is cast."""
        options = dict(self._options)
        if "num_populations" in options:  # Stein variational: several populations side by side
            self._populations = int(options["num_populations"])
            if size % self._populations:
                raise ValueError(f"it is not a multiple of num_populations={self._populations}")
        else:
            self._populations = 0
        each = size // max(self._populations, 1)
        solution = jax.device_put(np.zeros(self.dims, np.float32))
        self.algorithm = self._class(population_size=each, solution=solution, **options)
        self._params = make_params(self.algorithm, self._given)
        if any(np.isnan(leaf).any() for leaf in jax.tree.leaves(self._params)):
            raise ValueError("its constants are not defined for so small a population")
        self._population_based = isinstance(self.algorithm, PopulationBasedAlgorithm)
        self._size = size
        key = jax.eval_shape(jax.random.key, 0)
        self._abstract = jax.eval_shape(self._begin, key)
        sample, _ = jax.eval_shape(
            lambda key, state: self.algorithm.ask(key, state, self._params), key, self._abstract
        )
        if sample.shape != (size, self.dims):
            raise ValueError(f"it proposes {sample.shape[0]} candidates")

    def _begin(self, key: PRNGKey) -> Any:
        """The state of the algorithm before the first generation."""
        if self._population_based:
            # Held in the place of the state that the first `tell` makes.
            zeros = jnp.zeros((self._size, self.dims))
            return self.algorithm.init(key, zeros, jnp.zeros(self._size), self._params)
        if self._populations:
            key_mean, key = jax.random.split(key)
            # Equal means would get equal updates and never part; the first one starts at `start`.
            means = jax.random.normal(key_mean, (self._populations, self.dims))
            return self.algorithm.init(key, means.at[0].set(0.0), self._params)
        return self.algorithm.init(key, jnp.zeros(self.dims), self._params)

    def _cast(self, state: Any) -> Any:
        """Cast a state to strong, unchanging dtypes, as others would make programs recompile."""
        return jax.tree.map(
            lambda x, like: jnp.asarray(x).astype(like.dtype), state, self._abstract
        )

    def _uniform(self, key: PRNGKey) -> Float[Array, " dims"]:
        low, high = self.box.lower, self.box.upper
        return self.box.sample(jax.random.uniform(key, (self.dims,), minval=low, maxval=high))

    def _first_population(self, key: PRNGKey) -> Population:
        if self._experts is not None:
            return self._expert_population(key)
        if self._initial_population == "uniform":
            keys = jax.random.split(key, self.population_size)
            sample = jax.vmap(self._uniform)(keys)
        else:
            sample = jax.random.normal(key, (self.population_size, self.dims))
        return sample.at[0].set(0.0)

    def _check_experts(self) -> None:
        """Refuse a search that cannot begin with the experts."""
        if not self._population_based:
            raise ValueError(
                f"{self.name} keeps no population to begin with experts; use "
                "initial_population=normal, or another strategy, e.g. strategy=pso"
            )
        if self._experts is None:
            raise ValueError(
                "initial_population=experts begins with the sources themselves, and this space has "
                "no genotypes for them: not every source has weights of its own that evolve; use "
                "initial_population=normal"
            )
        if (least := len(self._experts)) > self.population_size:
            raise ValueError(
                f"initial_population=experts begins with {least} candidates, and a generation has "
                f"{self.population_size}; set strategy.population_size={least} or more"
            )

    def _expert_population(self, key: PRNGKey) -> Population:
        """The experts, then mixtures of them."""
        experts = self.box.sample(jnp.asarray(self._experts, jnp.float32))
        rest = self.population_size - len(experts)
        weights = jax.random.dirichlet(key, jnp.ones(len(experts)), (rest,))
        return jnp.concatenate([experts, weights @ experts])

    def _init(self, key: PRNGKey) -> State:
        return State(
            algorithm=self._cast(self._begin(key)),
            sample=jnp.zeros((self.population_size, self.dims)),
            worst=jnp.float32(-jnp.inf),
            started=jnp.bool_(False),
        )

    def _ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        def propose() -> tuple[Population, Any]:
            sample, algorithm = self.algorithm.ask(key, state.algorithm, self._params)
            return sample.astype(jnp.float32), self._cast(algorithm)

        if self._population_based:
            sample, algorithm = jax.lax.cond(
                state.started, propose, lambda: (self._first_population(key), state.algorithm)
            )
        else:
            sample, algorithm = propose()
        population = self.box.genotype(sample)
        if self._population_based:
            sample = self.box.sample(population)
        return population, state._replace(algorithm=algorithm, sample=sample)

    def _tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        # A parent is compared with children of later generations, a distribution is not: only
        # then must a failure lose against everything seen, and not only its own generation.
        floor = state.worst if self._population_based else jnp.float32(-jnp.inf)
        cost, worst = to_cost(fitness, self.box.violation(state.sample), floor)

        def update() -> Any:
            algorithm = state.algorithm
            return self._cast(
                self.algorithm.tell(key, state.sample, cost, algorithm, self._params)[0]
            )

        def begin() -> Any:
            return self._cast(self.algorithm.init(key, state.sample, cost, self._params))

        def learn() -> State:
            algorithm = (
                jax.lax.cond(state.started, update, begin) if self._population_based else update()
            )
            learned = State(algorithm, state.sample, worst, jnp.bool_(True))
            # Some algorithms divide by their deviation; once it has shrunk past float32 the
            # search has converged and stays where it is.
            return jax.lax.cond(self._is_sound(algorithm), lambda: learned, lambda: state)

        return jax.lax.cond(jnp.isfinite(fitness).any(), learn, lambda: state)

    def _inject(
        self, genotype: Genotype, population: Population, state: State
    ) -> tuple[Population, State]:
        told = limit_step(state.algorithm, self.box.sample(genotype))
        sample = state.sample.at[-1].set(told)
        return population.at[-1].set(genotype), state._replace(sample=sample)

    def _is_sound(self, algorithm: Any) -> Bool[Array, ""]:
        """Whether what the next generation is drawn from is finite."""
        names = ("mean", "std", "population", "factor", "inverse")
        parts = [getattr(algorithm, name, 0.0) for name in names]
        return jnp.stack([jnp.isfinite(part).all() for part in parts]).all()
