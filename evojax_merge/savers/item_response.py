"""An item-response model of how able candidates are, and how hard and how telling items are.

[1] Lord, Novick, Statistical theories of mental test scores, 1968: the two-parameter model.
[2] Polo et al., tinyBenchmarks, arXiv 2402.14992: several dimensions of ability, and anchors.

    P(candidate c solves item i) = σ(a_i · θ_c − b_i),   θ, a − 1, b ~ Normal, fitted by MAP.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from evojax_merge.params.types import Array, Bool, Float

_STEPS, _RATE = 400, 0.05
_NEWTON_STEPS = 8
_PADDING = 32
"""Candidates are padded to a multiple of this, so that a growing number compiles seldom."""


class ItemResponse(NamedTuple):
    """A fitted model.

    Attributes:
        discrimination: How telling each item is, a in the formula.
        difficulty: How hard each item is, b in the formula.
    """

    discrimination: Float[np.ndarray, "items abilities"]
    difficulty: Float[np.ndarray, " items"]

    def predict(
        self, abilities: Float[np.ndarray, "pop abilities"]
    ) -> Float[np.ndarray, "pop items"]:
        """The probability that each candidate solves each item."""
        return _sigmoid(abilities @ self.discrimination.T - self.difficulty)

    def abilities(
        self, results: Float[np.ndarray, "pop chosen"], chosen: np.ndarray
    ) -> Float[np.ndarray, "pop abilities"]:
        """The likeliest abilities of candidates, from their results on some items.

        Args:
            results: The results, nan where an item was not measured.
            chosen: The places of the items.
        """
        a, b = self.discrimination[chosen], self.difficulty[chosen]
        known = np.isfinite(results)
        filled = jnp.asarray(np.where(known, results, 0), jnp.float32)
        return np.asarray(_locate(filled, jnp.asarray(known), a, b), np.float64)


def fit(
    results: Float[np.ndarray, "pop items"], dimensions: int = 2, seed: int = 0
) -> ItemResponse:
    """Fit a model to results in [0, 1]; the same results give the same model.

    Args:
        results: The results, nan where a candidate was not measured on an item.
        dimensions: The number of dimensions of ability.
        seed: The seed of the start.
    """
    count, items = results.shape
    padded = -(-count // _PADDING) * _PADDING
    filled = np.zeros((padded, items), np.float32)
    known = np.zeros((padded, items), bool)
    known[:count] = np.isfinite(results)
    filled[:count] = np.where(known[:count], results, 0)
    rng = np.random.default_rng(seed)
    start = {
        "theta": jnp.asarray(rng.normal(0, 0.1, (padded, dimensions)), jnp.float32),
        "a": jnp.asarray(1 + rng.normal(0, 0.1, (items, dimensions)), jnp.float32),
        "b": jnp.zeros(items, jnp.float32),
    }
    fitted = _fit(start, jnp.asarray(filled), jnp.asarray(known))
    return ItemResponse(np.asarray(fitted["a"], np.float64), np.asarray(fitted["b"], np.float64))


@functools.partial(jax.jit)
def _fit(
    start: dict[str, Array], results: Float[Array, "pop items"], known: Bool[Array, "pop items"]
) -> dict[str, Array]:
    optimizer = optax.adam(optax.cosine_decay_schedule(_RATE, _STEPS))
    real = known.any(axis=1)

    def loss(model: dict[str, Array]) -> Array:
        logits = model["theta"] @ model["a"].T - model["b"]
        unlikely = optax.sigmoid_binary_cross_entropy(logits, results)
        prior = (
            jnp.sum(jnp.square(model["theta"]) * real[:, None])
            + jnp.sum(jnp.square(model["a"] - 1))
            + 0.25 * jnp.sum(jnp.square(model["b"]))
        )
        return jnp.sum(unlikely * known) + 0.5 * prior

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        model, state = carry
        updates, state = optimizer.update(jax.grad(loss)(model), state)
        return (optax.apply_updates(model, updates), state), None

    (model, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=_STEPS)
    return model


@jax.jit
def _locate(
    results: Float[Array, "pop chosen"],
    known: Bool[Array, "pop chosen"],
    a: Float[Array, "chosen d"],
    b: Float[Array, " chosen"],
) -> Float[Array, "pop d"]:
    """The abilities by Newton's method on the log-posterior, which is concave."""
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)

    def one(result: Array, known: Array) -> Array:
        def step(theta: Array, _: None) -> tuple[Array, None]:
            p = jax.nn.sigmoid(a @ theta - b)
            slope = a.T @ ((result - p) * known) - theta
            curvature = (a.T * (p * (1 - p) * known)) @ a + jnp.eye(a.shape[1])
            change = jnp.linalg.solve(curvature, slope)
            return theta + change / jnp.maximum(1.0, jnp.linalg.norm(change)), None

        return jax.lax.scan(step, jnp.zeros(a.shape[1]), length=_NEWTON_STEPS)[0]

    return jax.vmap(one)(results, known)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
