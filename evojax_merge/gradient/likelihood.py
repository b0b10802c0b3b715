"""How likely a merged model finds the right answers of a task."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.fitness.references import TextReferences, references_of
from evojax_merge.gradient.batches import draw, pieces
from evojax_merge.gradient.objective import Slope
from evojax_merge.models import Family
from evojax_merge.models.ability import Predict
from evojax_merge.params.types import Array, Bool, Float, Genotype, Int, Params, PRNGKey


class ReferenceLikelihood:
    """The mean negative log-likelihood of a task's reference answers, in nats.

    That of a text is taken per token, and that of a choice among several is normalised over them.
    That of a classifier is the cross-entropy of its classes. The merge is computed twice in a step,
    so that none of what it is made of is kept for the way back.

    Args:
        family: The family of the models.
        config: The configuration of the models.
        merge_fn: The function from materials and a genotype to parameters, which is differentiable
            in the genotype.
        materials: What is merged.
        task: A bound task with references.
        batch_size: How many items are on the device at once.

    Raises:
        ValueError: The task has no references.
    """

    def __init__(
        self,
        family: Family,
        config: Any,
        merge_fn: Callable[[Any, Genotype], Params],
        materials: Any,
        task: Any,
        batch_size: int,
    ) -> None:
        self._batches = references_of(task)
        if isinstance(self._batches[0], TextReferences):
            measure = _of_texts(family, config)
        else:
            measure = _of_classes(family.ability(task.request).predict(config, task.request))

        def loss(materials: Any, genotype: Genotype, fields: Any) -> Float[Array, ""]:
            params = jax.checkpoint(merge_fn)(materials, genotype)
            return -measure(params, *fields).mean()

        self._materials = materials
        self._batch_size = batch_size
        self._merge = jax.jit(merge_fn)
        self._measure = jax.jit(measure)
        self._gradient = jax.jit(jax.grad(loss, argnums=1))

    def items(self, genotype: Genotype) -> Float[np.ndarray, " items"]:
        """The value of every item, in the order of the references; their mean is descended."""
        params = self._merge(self._materials, jnp.asarray(genotype))
        return np.concatenate(
            [
                -np.asarray(self._measure(params, *fields))[:count]
                for fields, count in pieces(self._batches, self._batch_size)
            ]
        )

    def gradient(self, key: PRNGKey, genotype: Genotype) -> Slope:
        """The gradient on a random batch of items, all of one padded length."""
        fields = draw(key, self._batches, self._batch_size)
        return Slope(self._gradient(self._materials, genotype, fields), len(fields[0]))


def _of_texts(family: Family, config: Any) -> Callable[..., Float[Array, " items"]]:
    def loglikelihood(
        params: Params,
        tokens: Int[Array, "items choices seq"],
        start: Int[Array, "items choices"],
        weight: Float[Array, "items choices seq"],
        present: Bool[Array, "items choices"],
        right: Int[Array, " items"],
    ) -> Float[Array, " items"]:
        rows = tokens.reshape(-1, tokens.shape[-1])
        logits, _ = family.forward(config, params, rows, start.reshape(-1))
        logs = jax.nn.log_softmax(logits[:, :-1].astype(jnp.float32), axis=-1)
        chosen = jnp.take_along_axis(logs, rows[:, 1:, None], axis=-1)
        counts = weight[..., 1:]
        values = jnp.sum(counts * chosen.reshape(counts.shape), axis=-1)
        if tokens.shape[1] > 1:  # with nothing to choose from there is nothing to normalise over
            values = jax.nn.log_softmax(values, axis=-1, where=present)
        return jnp.take_along_axis(values, right[:, None], axis=-1)[:, 0]

    return loglikelihood


def _of_classes(predict: Predict) -> Callable[..., Float[Array, " items"]]:
    def loglikelihood(params: Params, *fields: Any) -> Float[Array, " items"]:
        *inputs, labels = fields
        logits, _ = predict(params, *inputs)
        logs = jax.nn.log_softmax(logits[:, 0].astype(jnp.float32), axis=-1)
        return jnp.take_along_axis(logs, labels[:, None], axis=-1)[:, 0]

    return loglikelihood
