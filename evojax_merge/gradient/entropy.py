"""How uncertain a merged model is about the items of a task, without looking at the answers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.fitness.base import BoundTask
from evojax_merge.gradient.batches import draw, pieces
from evojax_merge.gradient.objective import Slope
from evojax_merge.models import Family
from evojax_merge.params.types import Array, Float, Genotype, Params, PRNGKey


class PredictionEntropy:
    """The mean entropy of a merge's predictions, in nats, less that of its mean prediction.

    The first term alone is least for a merge that is certain, even if always of the same. Where
    sources know different classes, it finds the one source that is the most certain of all. The
    second term, times ``diversity``, is largest when all classes occur. With ``diversity=1`` the
    difference is minus the mutual information of items and predictions.

    A classifier predicts a class. Where a task measures the likelihood of a text, the next tokens
    at the scored positions count; where it gives a prompt, the first token of the answer counts.

    References:
        Liang et al., Do we really need to access the source data?, arXiv 2002.08546, eq. 3.

    Args:
        family: The family of the models.
        config: The configuration of the models.
        merge_fn: The function from materials and a genotype to parameters, which is differentiable
            in the genotype.
        materials: What is merged.
        task: The bound task that provides the items.
        batch_size: How many items are on the device at once.
        diversity: The weight of the second term.
    """

    def __init__(
        self,
        family: Family,
        config: Any,
        merge_fn: Callable[[Any, Genotype], Params],
        materials: Any,
        task: BoundTask,
        batch_size: int,
        diversity: float,
    ) -> None:
        predict = family.ability(task.request).predict(config, task.request)

        def measure(params: Params, fields: tuple[Array, ...]) -> tuple[Array, Array]:
            logits, counts = predict(params, *fields)
            shares = counts / jnp.maximum(counts.sum(axis=-1, keepdims=True), 1)
            logs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
            predicted = jnp.einsum("bp,bpc->bc", shares, jnp.exp(logs))
            return -jnp.einsum("bp,bpc,bpc->b", shares, jnp.exp(logs), logs), predicted

        def loss(materials: Any, genotype: Genotype, fields: Any) -> Float[Array, ""]:
            entropies, predicted = measure(merge_fn(materials, genotype), fields)
            return entropies.mean() - diversity * _entropy(predicted.mean(axis=0))

        self._materials = materials
        self._batches = task.batches
        self._batch_size = batch_size
        self._diversity = diversity
        self._merge = jax.jit(merge_fn)
        self._measure = jax.jit(measure)
        self._gradient = jax.jit(jax.grad(loss, argnums=1))

    def items(self, genotype: Genotype) -> Float[np.ndarray, " items"]:
        """The value of every item, in the order of the task's batches; their mean is descended."""
        params = self._merge(self._materials, jnp.asarray(genotype))
        entropies: list[np.ndarray] = []
        total: Any = 0.0
        for fields, count in pieces(self._batches, self._batch_size):
            entropy, predicted = self._measure(params, fields)
            entropies.append(np.asarray(entropy)[:count])
            total = total + np.asarray(predicted)[:count].sum(axis=0, dtype=np.float64)
        found = np.concatenate(entropies)
        diversity = float(_entropy(jnp.asarray(total / len(found), jnp.float32)))
        return found - np.float32(self._diversity * diversity)

    def gradient(self, key: PRNGKey, genotype: Genotype) -> Slope:
        """The gradient on a random batch of items, all of one padded length."""
        fields = draw(key, self._batches, self._batch_size)
        return Slope(self._gradient(self._materials, genotype, fields), len(fields[0]))


def _entropy(probabilities: Float[Array, " classes"]) -> Float[Array, ""]:
    return -jnp.sum(probabilities * jnp.log(jnp.maximum(probabilities, 1e-30)))
