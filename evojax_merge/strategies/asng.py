"""ASNG, the adaptive stochastic natural gradient of choices (Akimoto et al., 2019).

[1] Adaptive Stochastic Natural Gradient Method for One-Shot Neural Architecture Search,
    https://arxiv.org/abs/1905.08537
[2] Hamano et al., CatCMA: Stochastic Optimization for Mixed-Category Problems, 2024,
    https://arxiv.org/abs/2405.09962

Each of N choices is drawn by the probabilities q of its K categories. With the weights w of the
candidates by rank and their choices c, one-hot, a generation moves q along the natural gradient

    g = Σ_i w_i (c_i − q),   q' = q + δ g / ‖F^½ g‖,

where F is the Fisher information of the first K − 1 probabilities of each choice, so that δ is the
length of the step in the distribution's own metric. A path s of the steps' directions, and the
length γ that it would have by chance, say whether steps agree with each other:

    β = δ / √(Σ (K − 1)),   s' = (1 − β) s + √(β (2 − β)) F^½ g / ‖F^½ g‖,
    γ' = (1 − β)² γ + β (2 − β),   Δ' = Δ exp(β (γ' − ‖s'‖² / 1.5)),   δ' = 1 / Δ.

No probability falls below the margin (1 − 0.73^(1/N)) / (K − 1) ([2]), so that no category is lost.

Departure: β is at most 1. It is the share of the new step in a mean, and steps that agree for long
would take it beyond, where the root is no number.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.params.types import Array, Float, Int, PRNGKey

PATIENCE = 1.5
"""α of [1]: how much longer than by chance a path of steps that are too long may be."""

KEPT = 0.73
"""The probability of [2] that all choices of a candidate are those of a settled distribution."""

_TINY = 1e-8

Table = Float[Array, "choices categories"]
"""A number for each category of each choice, 0 for categories that a choice does not have."""


class State(NamedTuple):
    """The distribution and what adapts its step.

    Attributes:
        probability: The probabilities q.
        path: The path s; its last category of each choice is 0.
        chance: The length γ that the path would have by chance.
        caution: Δ, by which steps are shorter.
        step: The length δ of the next step.
    """

    probability: Table
    path: Table
    chance: Float[Array, ""]
    caution: Float[Array, ""]
    step: Float[Array, ""]


class ASNG:
    """The distribution of choices and its update.

    Args:
        start: The probabilities at first, ``[choices, categories]``, each row with its categories
            first and zeros after them.
    """

    def __init__(self, start: Float[np.ndarray, "choices categories"]) -> None:
        self.counts: Int[np.ndarray, " choices"] = (start > 0).sum(axis=1).astype(np.int32)
        places = np.arange(start.shape[1])
        self._own = places < self.counts[:, None]
        self._free = places < self.counts[:, None] - 1
        least = (1 - KEPT ** (1 / len(start))) / (self.counts - 1)
        self._least = np.where(self._own, least[:, None], 0.0).astype(np.float32)
        self._start = start.astype(np.float32)

    def init(self) -> State:
        """Return the state before the first generation."""
        start = self._within_margin(jnp.asarray(self._start))
        one = jnp.float32(1.0)
        return State(start, jnp.zeros_like(start), jnp.float32(0.0), one, one)

    def sample(self, key: PRNGKey, size: int, state: State) -> Int[Array, "pop choices"]:
        """Draw the categories of so many candidates."""
        drawn = jax.random.uniform(key, (size, len(self.counts), 1))
        below = jnp.cumsum(state.probability, axis=1) <= drawn
        return jnp.sum(below & self._free, axis=2, dtype=jnp.int32)

    def update(
        self, chosen: Int[Array, "pop choices"], weights: Float[Array, " pop"], state: State
    ) -> State:
        """Return the state after a generation.

        Args:
            chosen: The categories of each candidate.
            weights: The weight of each by its rank, none of them negative.
            state: The state that the candidates were drawn from.
        """
        q = state.probability
        one_hot = jax.nn.one_hot(chosen, q.shape[1])
        gradient = jnp.einsum("p,pck->ck", weights, one_hot - q)
        scaled = self._fisher_root(gradient, q)
        norm = jnp.linalg.norm(scaled)
        moved = q + state.step / (norm + _TINY) * gradient

        step = 1.0 / state.caution
        beta = jnp.minimum(step / np.sqrt(self._free.sum()), 1.0).astype(jnp.float32)
        direction = scaled / jnp.maximum(norm, _TINY)
        path = (1 - beta) * state.path + jnp.sqrt(beta * (2 - beta)) * direction
        chance = (1 - beta) ** 2 * state.chance + beta * (2 - beta)
        signal = jnp.sum(jnp.square(path))
        caution = state.caution * jnp.exp(beta * (chance - signal / PATIENCE))
        return State(self._within_margin(moved), path, chance, caution, step)

    def _fisher_root(self, gradient: Table, q: Table) -> Table:
        """F^½ g, in closed form ([1], appendix B)."""
        last = (self.counts - 1)[:, None]
        q_last = jnp.take_along_axis(q, last, axis=1)
        rest = -jnp.take_along_axis(gradient, last, axis=1)  # all sum to 0
        root = jnp.sqrt(jnp.where(self._free, q, 1.0))
        scaled = gradient / root + root * rest / (q_last + jnp.sqrt(q_last))
        return jnp.where(self._free, scaled, 0.0)

    def _within_margin(self, q: Table) -> Table:
        """Raise what is below the margin, and take that from what is above it."""
        q = jnp.maximum(q, self._least)
        above = q - self._least
        beyond = jnp.sum(q, axis=1, keepdims=True) - 1
        q = q - beyond * above / jnp.sum(above, axis=1, keepdims=True)
        return q / jnp.sum(q, axis=1, keepdims=True)
