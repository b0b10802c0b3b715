"""AdaMerging (Yang et al., 2023), https://arxiv.org/abs/2310.02575"""

import copy
import warnings
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
import optax

from evojax_merge.gradient.entropy import PredictionEntropy
from evojax_merge.types import Fitness, Float, Genotype, Population, PRNGKey


class NonFiniteGradientWarning(UserWarning):
    """A step of the descent that some coefficients did not take part in."""


_NOT_FINITE = (
    "the gradient of the entropy is not finite on some items: the coefficients concerned stay "
    "where they are in those steps; look for items that overflow the model, or merge in float32"
)


class State(NamedTuple):
    """Where the descent stands."""

    genotype: Genotype
    adam: Any


class AdaMerging:
    """Descends the entropy of the merge's predictions on unlabelled items, by Adam.

    A strategy with a population of one: a generation measures the entropy of all items and takes
    one step on a batch of them, so that the genotype of the lowest entropy is found, and the result
    is a recipe like any other. With ``operator=task_arithmetic space=parameter_layers`` it is the
    paper's layer-wise AdaMerging. A step needs memory for the gradient of the whole model.

    References:
        Yang et al., AdaMerging: adaptive model merging for multi-task learning, arXiv 2310.02575,
        eq. 5 and 8. There: start 0.3, learning rate 1e-3, batches of 16, 500 steps. Departures:
        coefficients stay within the bounds of the space; a language model's entropy is that of its
        next tokens; and ``diversity``. The paper has a head and test items for each task, so that
        no source can win them all; one merged model with one head has not, and the entropy alone
        (``diversity=0``) is least where only the most certain source is left.

    Args:
        lower: Bounds of the space.
        upper: Likewise.
        start: Where to begin, inside them.
        learning_rate: Of Adam, in the units of the coefficients.
        batch_size: Items of a step.
        diversity: How much the entropy of the mean prediction counts against that of the single
            ones, see `PredictionEntropy`; from 0.

    Raises:
        ValueError: The learning rate is not above 0, a batch has no items, or diversity is
            negative.
    """

    population_size = 1

    def __init__(
        self,
        lower: Any,
        upper: Any,
        start: Any,
        learning_rate: float = 1e-3,
        batch_size: int = 16,
        diversity: float = 1.0,
    ) -> None:
        if not learning_rate > 0:
            raise ValueError(f"strategy.learning_rate must be above 0, not {learning_rate}")
        if batch_size < 1:
            raise ValueError(f"strategy.batch_size must be at least 1 item, not {batch_size}")
        if not diversity >= 0:
            raise ValueError(f"strategy.diversity must be at least 0, not {diversity}")
        self.lower, self.upper = np.asarray(lower, np.float32), np.asarray(upper, np.float32)
        self.start = np.asarray(start, np.float32)
        self.dims = len(self.start)
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.diversity = diversity
        self._adam = optax.scale_by_adam()
        self._objective: PredictionEntropy | None = None

    def bind(self, objective: PredictionEntropy) -> Self:
        """The same strategy for an entropy to descend."""
        bound = copy.copy(self)
        bound._objective = objective
        return bound

    def score(self, population: Population) -> Float[np.ndarray, "pop items"]:
        """Minus the entropy of every item: what the search maximises."""
        return np.stack([-self._bound.items(genotype) for genotype in np.asarray(population)])

    def init(self, key: PRNGKey) -> State:
        """The state before the first step."""
        genotype = jnp.asarray(self.start)
        return State(genotype, self._adam.init(genotype))

    def ask(self, key: PRNGKey, state: State) -> tuple[Population, State]:
        """Where the descent stands."""
        return state.genotype[None], state

    def tell(self, key: PRNGKey, population: Population, fitness: Fitness, state: State) -> State:
        """One step of Adam; an element without a finite gradient stays where it is, with a warning.

        Operators have finite gradients everywhere; a model that overflows on an item has not.
        """
        gradient = self._bound.gradient(key, population[0])
        finite = jnp.isfinite(gradient)
        if not finite.all():
            warnings.warn(_NOT_FINITE, NonFiniteGradientWarning, stacklevel=2)
        gradient = jnp.where(finite, gradient, 0.0)
        direction, adam = self._adam.update(gradient, state.adam)
        genotype = state.genotype - self.learning_rate * jnp.asarray(direction)
        return State(jnp.clip(genotype, self.lower, self.upper), adam)

    @property
    def _bound(self) -> PredictionEntropy:
        if self._objective is None:
            raise RuntimeError("AdaMerging descends an entropy: bind one first")
        return self._objective
