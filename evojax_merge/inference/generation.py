"""Greedy generation for a whole population of models in one compiled program.

Every candidate answers the same prompts. The decode loop runs once for the population, not once
under ``vmap``: a vmapped ``while_loop`` selects between old and new carry for every candidate and
would copy all the caches at every token.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.modeling import Caches, forward, init_cache
from evojax_merge.models.decoder.path import PATH
from evojax_merge.population import count, only, population_axes
from evojax_merge.types import Array, Bool, Int, Params, Tokens


class _Decoding(NamedTuple):
    """``step`` tokens of each answer are in ``output``; ``token`` is the last of them."""

    step: Int[Array, ""]
    token: Int[Array, "*pop batch"]
    ended: Bool[Array, "*pop batch"]
    output: Int[Array, "*pop batch new"]
    cache: Caches | None


def make_generate(
    config: DecoderConfig,
    *,
    max_new_tokens: int,
    eos_ids: tuple[int, ...],
    pad_id: int,
    axes: Any = None,
) -> Callable[[Params, Tokens, Int[Array, "batch"]], Int[Array, "pop batch new"]]:
    """Build ``generate(params, tokens, start)``, greedy decoding of a population.

    Args:
        config: The decoder all candidates share.
        max_new_tokens: Longest answer.
        eos_ids: Tokens that end an answer; the one met is kept in the output.
        pad_id: Fills the output after the end.
        axes: Where the population stands in the parameters; by default
            `evojax_merge.population.population_axes`.

    Returns:
        A function of the population's parameters, left-padded prompts and the first valid slot of
        each; it stops as soon as every answer of every candidate has ended. To be jitted by the
        caller.
    """
    ends = jnp.asarray(eos_ids, jnp.int32)
    run = functools.partial(forward, config, last_only=True)

    def generate(
        params: Params, tokens: Tokens, start: Int[Array, "batch"]
    ) -> Int[Array, "pop batch new"]:
        batch, prompt = tokens.shape
        where = population_axes(params) if axes is None else axes
        lead: tuple[int, ...] = (count(where, params),)
        dtype = params["embed_tokens"]["weight"].dtype
        hops = params[PATH].layer.shape[-1] if PATH in params else None
        if lead == (1,):
            # XLA updates a cache in place only where no axis of length 1 is to be taken off it.
            params, lead = only(where, params), ()

        def each(fn: Callable[..., Any], in_axes: tuple[Any, ...]) -> Callable[..., Any]:
            return jax.vmap(fn, in_axes=in_axes) if lead else fn

        empty = init_cache(config, batch, prompt + max_new_tokens, dtype, hops)
        prefill = each(run, (where, None, None, None))
        logits, cache = prefill(params, tokens, start, empty)
        token = _greedy(logits)

        def write(output: Array, token: Array, step: Int[Array, ""] | int) -> Array:
            corner = (*(0 for _ in lead), 0, step)
            return jax.lax.dynamic_update_slice(output, token[..., None], corner)

        def unfinished(state: _Decoding) -> Bool[Array, ""]:
            return (state.step < max_new_tokens) & ~jnp.all(state.ended)

        def decode(state: _Decoding) -> _Decoding:
            slot = prompt + state.step - 1
            step = each(run, (where, 0, None, 0, None))
            logits, cache = step(params, state.token[..., None], start, state.cache, slot)
            token = jnp.where(state.ended, pad_id, _greedy(logits))
            return _Decoding(
                step=state.step + 1,
                token=token,
                ended=state.ended | jnp.isin(token, ends),
                output=write(state.output, token, state.step),
                cache=cache,
            )

        answers = jnp.full((*lead, batch, max_new_tokens), pad_id, jnp.int32)
        first = _Decoding(
            step=jnp.int32(1),
            token=token,
            ended=jnp.isin(token, ends),
            output=write(answers, token, 0),
            cache=cache,
        )
        output = jax.lax.while_loop(unfinished, decode, first).output
        return output if lead else output[None]

    return generate


def _greedy(logits: Array) -> Int[Array, "*pop batch"]:
    return jnp.argmax(logits[..., -1, :], axis=-1).astype(jnp.int32)
