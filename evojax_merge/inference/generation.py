"""Greedy generation for a whole population of models in one compiled program.

Every candidate answers the same prompts. The decode loop runs once for the population, not once
under ``vmap``: a vmapped ``while_loop`` selects between old and new carry for every candidate and
would copy all the caches at every token.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.modeling import Cache, forward, init_cache
from evojax_merge.population import population_axes
from evojax_merge.types import Array, Bool, Int, Params, Tokens


class _Decoding(NamedTuple):
    step: Int[Array, ""]
    token: Int[Array, "pop batch"]
    ended: Bool[Array, "pop batch"]
    output: Int[Array, "pop batch new"]
    cache: Cache | None


def make_generate(
    config: DecoderConfig, *, max_new_tokens: int, eos_ids: tuple[int, ...], pad_id: int
) -> Callable[[Params, Tokens, Int[Array, "batch"]], Int[Array, "pop batch new"]]:
    """Build ``generate(params, tokens, start)``, greedy decoding of a population.

    Args:
        config: The decoder all candidates share.
        max_new_tokens: Longest answer.
        eos_ids: Tokens that end an answer; the one met is kept in the output.
        pad_id: Fills the output after the end.

    Returns:
        A function of the population's parameters (see `evojax_merge.tree.population_axes`),
        left-padded prompts and the first valid slot of each; it stops as soon as every answer of
        every candidate has ended. To be jitted by the caller.
    """
    ends = jnp.asarray(eos_ids, jnp.int32)

    def generate(
        params: Params, tokens: Tokens, start: Int[Array, "batch"]
    ) -> Int[Array, "pop batch new"]:
        batch, prompt = tokens.shape
        axes = population_axes(params)
        dtype = params["embed_tokens"]["weight"].dtype
        empty = init_cache(config, batch, prompt + max_new_tokens, dtype)
        run = functools.partial(forward, config, last_only=True)
        logits, cache = jax.vmap(run, in_axes=(axes, None, None, None))(
            params, tokens, start, empty
        )
        token = _greedy(logits)
        population = token.shape[0]

        def unfinished(state: _Decoding) -> Bool[Array, ""]:
            return (state.step < max_new_tokens) & ~jnp.all(state.ended)

        def decode(state: _Decoding) -> _Decoding:
            token = jnp.where(state.ended, pad_id, state.token)
            output = jax.lax.dynamic_update_slice(
                state.output, token[:, :, None], (0, 0, state.step)
            )
            ended = state.ended | jnp.isin(token, ends)
            logits, cache = jax.vmap(run, in_axes=(axes, 0, None, 0, None))(
                params, token[:, :, None], start, state.cache, prompt + state.step
            )
            return _Decoding(state.step + 1, _greedy(logits), ended, output, cache)

        first = _Decoding(
            step=jnp.int32(0),
            token=token,
            ended=jnp.zeros((population, batch), bool),
            output=jnp.full((population, batch, max_new_tokens), pad_id, jnp.int32),
            cache=cache,
        )
        return jax.lax.while_loop(unfinished, decode, first).output

    return generate


def _greedy(logits: Array) -> Int[Array, "pop batch"]:
    return jnp.argmax(logits[:, :, -1], axis=-1).astype(jnp.int32)
