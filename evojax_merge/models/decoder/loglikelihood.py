"""The log-likelihood of each token of a sequence, from the logits of the position before it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.modeling import read_through
from evojax_merge.params.types import Array, Float, Int, Params, Tokens

LOGIT_BYTES = 2**28
"""How many bytes of logits are held together where the likelihood of all positions is computed."""


def token_loglikelihood(
    config: DecoderConfig,
    params: Params,
    tokens: Tokens,
    start: Int[Array, " batch"],
    **shown: Any,
) -> Float[Array, "batch later"]:
    """Compute log p of each token but the first, given those before it, in float32.

    Where the logits of all positions would take more than `LOGIT_BYTES`, they are made for some
    positions after others.

    Args:
        config: The decoder.
        params: The parameters, as `forward` takes them.
        tokens: Token ids, left-padded.
        start: The first slot of each sequence that holds a token.
        shown: What else `forward` may be given by name.
    """
    return _of_following(_log_p, config, params, tokens, start, **shown)[..., 0]


def token_loglikelihood_and_rank(
    config: DecoderConfig,
    params: Params,
    tokens: Tokens,
    start: Int[Array, " batch"],
    **shown: Any,
) -> Float[Array, "batch later both"]:
    """Compute what `token_loglikelihood` does, and 1 where the token is the likeliest, or else 0.

    Of tokens that are equally likely the one with the smallest id counts as the likeliest, as in
    greedy decoding.
    """

    def both(logits: Float[Array, "batch some vocab"], following: Tokens) -> Array:
        first = (jnp.argmax(logits, axis=-1) == following).astype(jnp.float32)
        return jnp.concatenate([_log_p(logits, following), first[..., None]], axis=-1)

    return _of_following(both, config, params, tokens, start, **shown)


def _log_p(
    logits: Float[Array, "batch some vocab"], following: Tokens
) -> Float[Array, "batch some 1"]:
    chosen = jnp.take_along_axis(logits, following[..., None], axis=-1)
    return chosen - jax.nn.logsumexp(logits, axis=-1, keepdims=True)


def _of_following(
    of: Callable[[Array, Array], Array],
    config: DecoderConfig,
    params: Params,
    tokens: Tokens,
    start: Int[Array, " batch"],
    **shown: Any,
) -> Float[Array, "batch later values"]:
    """Compute something of each token but the first, by the logits of the position before it."""
    model, read, _ = read_through(config, params, tokens, start, **shown)
    x, following = read[:, :-1], tokens[:, 1:]
    batch, later = following.shape
    pieces = min(later, pieces_of_logits(config, batch, later))
    if pieces <= 1:
        return of(model.logits(x), following)
    size = -(-later // pieces)
    room = ((0, 0), (0, pieces * size - later))
    divided = (
        jnp.pad(part, (*room, *((0, 0),) * (part.ndim - 2)))
        .reshape(batch, pieces, size, *part.shape[2:])
        .swapaxes(0, 1)
        for part in (x, following)
    )
    found = jax.lax.map(lambda piece: of(model.logits(piece[0]), piece[1]), tuple(divided))
    return found.swapaxes(0, 1).reshape(batch, pieces * size, -1)[:, :later]


def pieces_of_logits(config: DecoderConfig, batch: int, positions: int) -> int:
    """Count the pieces in which the logits of some positions are made."""
    return -(-4 * batch * positions * config.vocab_size // LOGIT_BYTES)
