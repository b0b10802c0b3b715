"""The log-likelihood of given continuations under a whole population of models."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from evojax_merge.models.decoder.cache import Caches
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.inference.pictures import Pictures
from evojax_merge.models.decoder.inference.prefix import Primed, candidates, features_of, prime
from evojax_merge.models.decoder.loglikelihood import (
    token_loglikelihood,
    token_loglikelihood_and_rank,
)
from evojax_merge.models.decoder.params import layout
from evojax_merge.params.types import Array, Bool, Float, Int, Params, Tokens


def sequence_loglikelihood(
    config: DecoderConfig,
    params: Params,
    tokens: Tokens,
    start: Int[Array, " batch"],
    target: Bool[Array, "batch seq"],
    prefix: Caches | None = None,
    kernels: bool = False,
    features: Float[Array, "batch slots hidden"] | None = None,
    image_token_id: int | None = None,
    shift: Int[Array, "batch slots axes"] | None = None,
) -> Float[Array, " batch"]:
    """Sum log p(token_t | tokens before t) of each sequence over the marked t, in float32.

    Args:
        config: The configuration of the decoder.
        params: The parameters of the decoder.
        tokens: Left-padded sequences.
        start: The first slot of each sequence that holds a token.
        target: Whether each token is marked. The first of a row never is.
        prefix: The cache of one sequence that stands before all of these, as in `forward`.
        kernels: Whether a fused kernel may compute attention, as in `forward`.
        features: What stands in the place of picture tokens, as in `forward`.
        image_token_id: The picture token.
        shift: How much further the position of each row of features is, as in `forward`.
    """
    each = token_loglikelihood(
        config,
        params,
        tokens,
        start,
        prefix=prefix,
        kernels=kernels,
        features=features,
        image_token_id=image_token_id,
        shift=shift,
    )
    return jnp.sum(jnp.where(target[:, 1:], each, 0.0), axis=-1)


def sequence_loglikelihood_and_rank(
    config: DecoderConfig,
    params: Params,
    tokens: Tokens,
    start: Int[Array, " batch"],
    target: Bool[Array, "batch seq"],
    prefix: Caches | None = None,
    **shown: Any,
) -> Float[Array, "batch both"]:
    """Compute `sequence_loglikelihood`, and 1 where greedy decoding writes the marked, or else 0.

    Args:
        config: The configuration of the decoder.
        params: The parameters of the decoder.
        tokens: Left-padded sequences.
        start: The first slot of each sequence that holds a token.
        target: Whether each token is marked. The first of a row never is.
        prefix: The cache of one sequence that stands before all of these, as in `forward`.
        shown: What else `sequence_loglikelihood` may be given by name.
    """
    each = token_loglikelihood_and_rank(config, params, tokens, start, prefix=prefix, **shown)
    marked = target[:, 1:]
    total = jnp.sum(jnp.where(marked, each[..., 0], 0.0), axis=-1)
    greedy = jnp.all((each[..., 1] > 0) | ~marked, axis=-1)
    return jnp.stack([total, greedy.astype(total.dtype)], axis=-1)


def make_loglikelihood(
    config: DecoderConfig,
    axes: Any = None,
    prefix: int = 0,
    pictures: Pictures | None = None,
    greedy: bool = False,
) -> Callable[..., Float[Array, "pop batch"] | Float[Array, "pop batch 2"]]:
    """Build ``loglikelihood(params, tokens, start, target, *fields, eyes=None)``.

    It returns the `sequence_loglikelihood` of every candidate, or with ``greedy`` its
    `sequence_loglikelihood_and_rank`. The caller jits it.

    Args:
        config: The decoder that all candidates share.
        axes: The axis of the population in each leaf, by default that of the layout.
        prefix: How many tokens all sequences begin with. A candidate reads them once. None of them,
            nor the one that follows, is marked.
        pictures: How the pictures of sequences are seen, or None for text alone.
        greedy: Whether it is told, too, if greedy decoding would write what is marked.
    """

    axes = layout(config).population_axes() if axes is None else axes

    def loglikelihood(
        params: Params,
        tokens: Tokens,
        start: Int[Array, " batch"],
        target: Bool[Array, "batch seq"],
        *fields: Any,
        eyes: Any = None,
    ) -> Float[Array, "pop batch"] | Float[Array, "pop batch 2"]:
        lanes = candidates(params, axes, pictures, fields, eyes)
        lanes, tokens = prime(config, lanes, tokens, start, prefix)

        of_sequences = sequence_loglikelihood_and_rank if greedy else sequence_loglikelihood

        def one(model: Primed) -> Float[Array, " batch"] | Float[Array, "batch 2"]:
            return of_sequences(
                config,
                model.params,
                tokens,
                start,
                target[:, prefix:],
                model.prefix,
                kernels=True,
                features=features_of(model, pictures),
                image_token_id=None if pictures is None else pictures.token_id,
                shift=model.shift,
            )

        values = lanes.each(one)
        return values if lanes.lead else values[None]

    return loglikelihood
