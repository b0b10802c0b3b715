"""Log-likelihood of given continuations under a whole population of models."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.models.decoder.path import PATH
from evojax_merge.population import count, only, population_axes
from evojax_merge.types import Array, Bool, Float, Int, Params, Tokens


def sequence_loglikelihood(
    config: DecoderConfig,
    params: Params,
    tokens: Tokens,
    start: Int[Array, "batch"],
    target: Bool[Array, "batch seq"],
) -> Float[Array, "batch"]:
    """Σ_t log p(token_t | tokens before t) of each sequence, over the marked t, in float32."""
    logits, _ = forward(config, params, tokens, start)
    chosen = jnp.take_along_axis(logits[:, :-1], tokens[:, 1:, None], axis=-1)[..., 0]
    normaliser = jax.nn.logsumexp(logits[:, :-1], axis=-1)
    return jnp.sum(jnp.where(target[:, 1:], chosen - normaliser, 0.0), axis=-1)


def make_loglikelihood(
    config: DecoderConfig, axes: Any = None
) -> Callable[..., Float[Array, "pop batch"]]:
    """Build ``loglikelihood(params, tokens, start, target)``.

    It returns the `sequence_loglikelihood` of every candidate. To be jitted by the caller.

    Args:
        config: The decoder all candidates share.
        axes: Where the population stands in the parameters; by default
            `evojax_merge.population.population_axes`.
    """
    one = functools.partial(sequence_loglikelihood, config)

    def loglikelihood(
        params: Params,
        tokens: Tokens,
        start: Int[Array, "batch"],
        target: Bool[Array, "batch seq"],
    ) -> Float[Array, "pop batch"]:
        where = population_axes(params) if axes is None else axes
        if PATH in params and count(where, params) == 1:
            return one(only(where, params), tokens, start, target)[None]
        return jax.vmap(one, in_axes=(where, None, None, None))(params, tokens, start, target)

    return loglikelihood
