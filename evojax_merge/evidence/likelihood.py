"""Log-likelihood of one item under one model."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from evojax_merge.inference.scoring import sequence_loglikelihood
from evojax_merge.models import Family
from evojax_merge.types import Array, Float, Params

Loglikelihood = Callable[..., Float[Array, ""]]
"""(parameters, *fields of an item) -> its log-likelihood, float32."""


def make_item_loglikelihood(family: Family, config: Any) -> Loglikelihood:
    """Of a text's scored tokens, or of an example's class."""
    if family.name == "mlp":

        def of_class(params: Params, inputs: Array, label: Array) -> Float[Array, ""]:
            logits = family.forward(config, params, inputs[None])[0]
            return jax.nn.log_softmax(logits.astype("float32"))[label]

        return of_class
    of_sequences = functools.partial(sequence_loglikelihood, config)

    def of_text(params: Params, tokens: Array, start: Array, target: Array) -> Float[Array, ""]:
        return of_sequences(params, tokens[None], start[None], target[None])[0]

    return of_text
