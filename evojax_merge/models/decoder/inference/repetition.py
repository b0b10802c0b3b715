"""The repetition penalty: what a sequence has had before scores less.

It is that of Keskar et al., CTRL, 2019, arXiv 1909.05858, in the form that transformers gives it
(`RepetitionPenaltyLogitsProcessor`). A score above 0 is divided by the penalty, one below 0 is
multiplied by it, once for each token of the vocabulary that stands in the prompt or in the answer
so far. Greedy decoding applies it to logits and beam search to log-probabilities, as they do there.
Picture tokens of a prompt count as tokens. Padding does not.
"""

import jax.numpy as jnp

from evojax_merge.params.types import Array, Bool, Float, Int, Tokens


def seen_in(
    tokens: Tokens, start: Int[Array, " batch"], vocabulary: int
) -> Bool[Array, "batch vocab"]:
    """Tell which tokens of the vocabulary stand in each of some left-padded sequences."""
    batch, length = tokens.shape
    real = jnp.arange(length) >= start[:, None]
    token = jnp.where(real, tokens, vocabulary)  # there is no such token: nothing is marked
    nothing = jnp.zeros((batch, vocabulary), bool)
    return nothing.at[jnp.arange(batch)[:, None], token].set(True, mode="drop")


def with_token(
    seen: Bool[Array, "*rows vocab"], token: Int[Array, " *rows"]
) -> Bool[Array, "*rows vocab"]:
    """Mark the token that each sequence goes on with."""
    return seen | (jnp.arange(seen.shape[-1]) == token[..., None])


def penalised(
    scores: Float[Array, "*rows vocab"], seen: Bool[Array, "*rows vocab"], penalty: float
) -> Float[Array, "*rows vocab"]:
    """Return the scores of the next token, with the penalty on those of tokens seen before."""
    return jnp.where(seen, jnp.where(scores < 0, scores * penalty, scores / penalty), scores)
