"""Adam on a differentiable objective, as a part of searches and as a search of its own.

The source is AdaMerging (Yang et al., 2023), https://arxiv.org/abs/2310.02575.
"""

import copy
import warnings
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax

from evojax_merge.documents.arguments import check_number, check_whole
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.references import references_of
from evojax_merge.fitness.several import weighted
from evojax_merge.gradient.entropy import PredictionEntropy
from evojax_merge.gradient.likelihood import ReferenceLikelihood
from evojax_merge.gradient.objective import Descendable, Objective
from evojax_merge.gradient.weighted import WeightedObjectives
from evojax_merge.params.types import Array, Fitness, Float, Genotype, Int, Population, PRNGKey
from evojax_merge.strategies.base import Strategy
from evojax_merge.strategies.setting import Setting

OBJECTIVES = ("likelihood", "entropy")

GRADIENT_COST = 3
"""How many evaluations of an item a gradient on it counts as.

A forward pass counts as one, and the way back, which multiplies with each weight twice, counts as
two (Kaplan et al., arXiv 2001.08361, section 2.1)."""


class NonFiniteGradientWarning(UserWarning):
    """A step of the descent that some coefficients did not take part in."""


_NOT_FINITE = (
    "the gradient of the {} is not finite on some items: the coefficients concerned stay "
    "where they are in those steps; look for items that overflow the model, or merge in float32"
)


class State(NamedTuple):
    """Where a descent stands.

    Attributes:
        genotype: The genotype there.
        adam: The moments of the gradients.
        spent: How many evaluations of an item the gradients so far count as, see `GRADIENT_COST`.
    """

    genotype: Genotype
    adam: Any
    spent: Int[Array, ""]


class Descent:
    """Adam within the bounds of a space.

    Args:
        lower: The lower bounds of the space.
        upper: The upper bounds of the space.
        objective: ``likelihood`` of the reference answers, or ``entropy`` of the predictions.
        learning_rate: The learning rate of Adam, in the units of the coefficients.
        batch_size: The number of items of each task in a step.
        diversity: How much the entropy of the mean prediction counts against that of the single
            ones (see `PredictionEntropy`); 0 or more.

    Raises:
        ValueError: There is no such objective, the learning rate is not above 0, a batch has no
            items, or diversity is negative.
    """

    def __init__(
        self,
        lower: Any,
        upper: Any,
        objective: str,
        learning_rate: float,
        batch_size: int,
        diversity: float,
    ) -> None:
        if objective not in OBJECTIVES:
            raise ValueError(
                f"strategy.objective is {objective!r}; use {' or '.join(OBJECTIVES)}"
                f"{nearest(objective, OBJECTIVES)}"
            )
        check_number("strategy.learning_rate", learning_rate, 0)
        if learning_rate == 0:
            raise ValueError(f"strategy.learning_rate must be above 0, not {learning_rate}")
        check_whole("strategy.batch_size", batch_size, 1)
        check_number("strategy.diversity", diversity, 0)
        self.objective = objective
        self._lower, self._upper = np.asarray(lower, np.float32), np.asarray(upper, np.float32)
        self._learning_rate = learning_rate
        self._batch_size = batch_size
        self._diversity = diversity
        self._adam = optax.scale_by_adam()
        self._bound: Objective | None = None

    def check(self, task: Any) -> None:
        """Raise ValueError if the objective cannot be measured on a bound task."""
        for part, _ in weighted(task):
            if self.objective == "likelihood":
                references_of(part)
            elif not part.request.predicts:
                raise ValueError(
                    f"a {type(part).__name__} has no predictions whose entropy could be followed; "
                    "give tasks that have a model generate, score or classify"
                )

    def bind(self, space: Descendable) -> Self:
        """The same descent in a space."""
        tasks, weights = zip(*weighted(space.task), strict=True)
        parts = [self._objective(space._replace(task=task)) for task in tasks]
        bound = copy.copy(self)
        bound._bound = parts[0] if len(parts) == 1 else WeightedObjectives(parts, weights)
        return bound

    def _objective(self, space: Descendable) -> Objective:
        if self.objective == "likelihood":
            return ReferenceLikelihood(*space, self._batch_size)
        return PredictionEntropy(*space, self._batch_size, self._diversity)

    @property
    def bound(self) -> Objective:
        """What is descended."""
        if self._bound is None:
            raise RuntimeError("a descent needs something to descend: bind it first")
        return self._bound

    def init(self, genotype: Any) -> State:
        """The state before the first step."""
        start = jnp.asarray(genotype, jnp.float32)
        return State(start, self._adam.init(start), jnp.int32(0))

    def run(self, key: PRNGKey, state: State, steps: int) -> State:
        """Take some steps; an element without a finite gradient stays where it is, with a warning.

        Operators have finite gradients everywhere, but a model that overflows on an item has not.
        """
        for step in range(steps):
            slope = self.bound.gradient(jax.random.fold_in(key, step), state.genotype)
            finite = jnp.isfinite(slope.gradient)
            if not finite.all():
                warnings.warn(
                    _NOT_FINITE.format(self.objective), NonFiniteGradientWarning, stacklevel=3
                )
            gradient = jnp.where(finite, slope.gradient, 0.0)
            direction, adam = self._adam.update(gradient, state.adam)
            genotype = state.genotype - self._learning_rate * jnp.asarray(direction)
            genotype = jnp.clip(genotype, self._lower, self._upper)
            state = State(genotype, adam, state.spent + GRADIENT_COST * slope.items)
        return state


class GradientDescent(Strategy):
    """A strategy that descends an objective from the start, some steps between two evaluations.

    Its population is one. With the ``likelihood`` of reference answers, whatever the task measures
    decides which of the genotypes passed is the best. The ``entropy`` needs no labels, so none are
    looked at, and a genotype is as good as its entropy is small. With ``operator=task_arithmetic
    space=parameter_layers`` that is the paper's layer-wise AdaMerging. A step needs memory for the
    gradient of the whole model.

    References:
        Yang et al., AdaMerging: adaptive model merging for multi-task learning, arXiv 2310.02575,
        eq. 5 and 8. The paper takes start 0.3, learning rate 1e-3, batches of 16 and 500 steps.
        There are three departures: coefficients stay within the bounds of the space, a language
        model's entropy is that of its next tokens, and there is ``diversity``. The paper has a head
        and test items for each task, so that no source can win them all. One merged model with one
        head has not, and the entropy alone (``diversity=0``) is least where only the most certain
        source is left.

    Args:
        setting: The search that the strategy is for.
        steps: How many steps of the descent make a generation.
        objective, learning_rate, batch_size, diversity: The arguments of `Descent`.

    Raises:
        ValueError: There is no step, or `Descent` refuses its arguments.
    """

    population_size = 1
    follows_gradients = True

    def __init__(
        self,
        setting: Setting,
        *,
        objective: str = "likelihood",
        learning_rate: float = 1e-3,
        batch_size: int = 16,
        diversity: float = 1.0,
        steps: int = 1,
    ) -> None:
        check_whole("strategy.steps", steps, 1)
        self._descent = Descent(
            setting.lower, setting.upper, objective, learning_rate, batch_size, diversity
        )
        self._start = np.asarray(setting.box(1.0).start)
        self._steps = steps
        self.dims = len(self._start)

    @property
    def own_measure(self) -> Measure | None:
        """What `score` gives where the entropy, for which no labels count, is descended."""
        entropy = self._descent.objective == "entropy"
        return Measure("minus entropy of the predictions", "nats") if entropy else None

    def check(self, task: Any) -> None:
        """Raise ValueError if the objective cannot be measured on a bound task."""
        self._descent.check(task)

    def bind(self, space: Descendable) -> Self:
        """The same strategy in a space."""
        bound = copy.copy(self)
        bound._descent = self._descent.bind(space)
        return bound

    def score(self, population: Population) -> Float[np.ndarray, "pop items"]:
        """Minus the objective at every item."""
        return np.stack([-self._descent.bound.items(one) for one in np.asarray(population)])

    def spent(self, state: State) -> int:
        """How many evaluations of an item the gradients so far count as."""
        return int(state.spent)

    def init(self, key: PRNGKey) -> State:
        """The state before the first step."""
        return self._descent.init(self._start)

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """The genotype where the descent stands."""
        return state.genotype[None], state

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """Take the next steps, whatever the fitness."""
        return self._descent.run(key, state, self._steps)
