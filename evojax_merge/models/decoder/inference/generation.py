"""Generation for a whole population of models in one compiled program.

Every candidate answers the same prompts. The decode loop runs once for the population, not once
under ``vmap``. A vmapped ``while_loop`` selects between old and new carry for every candidate and
would copy all the caches at every token.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from evojax_merge.models.decoder.cache import Caches
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.inference.beam_search import BeamSearch, search_in_groups
from evojax_merge.models.decoder.inference.continuous import answer_in_turn, refill_of
from evojax_merge.models.decoder.inference.decoding import Prompts
from evojax_merge.models.decoder.inference.greedy import Greedy, Last
from evojax_merge.models.decoder.inference.lanes import Lanes
from evojax_merge.models.decoder.inference.pictures import Pictures
from evojax_merge.models.decoder.inference.prefix import Primed, candidates, prime
from evojax_merge.models.decoder.params import layout
from evojax_merge.params.loops import STEPS, while_loop
from evojax_merge.params.types import Array, Bool, Int, Params, Tokens


class _Answers(NamedTuple):
    """The state of greedy decoding: ``output`` holds ``step`` tokens of each answer."""

    step: Int[Array, ""]
    last: Last
    ended: Bool[Array, "*pop batch"]
    output: Int[Array, "*pop batch new"]
    cache: Caches


def make_generate(
    config: DecoderConfig,
    axes: Any = None,
    *,
    max_new_tokens: int,
    eos_ids: tuple[int, ...],
    pad_id: int,
    prefix: int = 0,
    slots: int | None = None,
    refill: int | None = None,
    beams: int = 1,
    repetition_penalty: float = 1.0,
    pictures: Pictures | None = None,
) -> Callable[..., Int[Array, "pop batch new"]]:
    """Build ``generate(params, tokens, start, *fields, eyes=None)``.

    Args:
        config: The decoder that all candidates share.
        axes: The axis of the population in each leaf, by default that of the layout.
        max_new_tokens: The number of tokens of the longest answer.
        eos_ids: The tokens that end an answer. The one met is kept in the output.
        pad_id: The token that fills the output after the end.
        prefix: How many tokens all prompts begin with. A candidate reads them once.
        slots: How many prompts a candidate answers at a time. Where there are more, those that wait
            take the places of answers that have ended. With None it answers all at once.
            With several beams, groups of so many prompts are answered one after another.
        refill: How many prompts are admitted at a time, by default an eighth of ``slots``.
        beams: How many continuations of a prompt are followed (see `beam_search`). With 1 decoding
            is greedy.
        repetition_penalty: What tokens seen before are penalised by (see `repetition`).
        pictures: How the pictures of prompts are seen, or None for text alone.

    Returns:
        A function of the population's parameters, left-padded prompts, the first valid slot of
        each, the fields of their pictures, and what the population sees them with. It stops as soon
        as every answer of every candidate has ended. The caller jits it.
    """
    axes = layout(config).population_axes() if axes is None else axes
    kind = Greedy if beams == 1 else functools.partial(BeamSearch, beams=beams)
    decoding = kind(config, max_new_tokens, eos_ids, pad_id, repetition_penalty, pictures)

    def generate(
        params: Params, tokens: Tokens, start: Int[Array, " batch"], *fields: Any, eyes: Any = None
    ) -> Int[Array, "pop batch new"]:
        lanes = candidates(params, axes, pictures, fields, eyes)
        whole = tokens if decoding.looks_back else None
        lanes, tokens = prime(config, lanes, tokens, start, prefix)
        prompts = Prompts(tokens, start, whole)
        if isinstance(decoding, BeamSearch):
            output = search_in_groups(decoding, lanes, prompts, slots or len(tokens))
        elif slots is None or len(tokens) <= slots:
            output = _answer_together(decoding, lanes, prompts)
        else:
            some = min(refill or refill_of(slots), slots)
            output = answer_in_turn(decoding, lanes, prompts, slots, some)
        return output if lanes.lead else output[None]

    return generate


def _answer_together(
    greedy: Greedy, lanes: Lanes, prompts: Prompts
) -> Int[Array, "*pop batch new"]:
    """Decode all answers at once, until the last has ended."""
    batch, prompt = prompts.tokens.shape
    new = greedy.max_new_tokens

    def prefill(model: Primed) -> tuple[Last, Caches]:
        return greedy.prefill(model, prompts, prompt + new)

    last, cache = lanes.each(prefill)
    ended = greedy.ends(last.token)

    def write(output: Array, token: Array, step: Int[Array, ""] | int) -> Array:
        corner = (*(0 for _ in lanes.lead), 0, step)
        return jax.lax.dynamic_update_slice(output, token[..., None], corner)

    def unfinished(state: _Answers) -> Bool[Array, ""]:
        return (state.step < new) & ~jnp.all(state.ended)

    def decode(state: _Answers) -> _Answers:
        time = prompt + state.step - 1

        def step(model: Primed, last: Last, cache: Caches) -> tuple[Last, Caches]:
            return greedy.decode(model, last, prompts.start, cache, time)

        last, cache = lanes.each(step, state.last, state.cache)
        token = jnp.where(state.ended, greedy.pad_id, last.token)
        return _Answers(
            step=state.step + 1,
            last=last._replace(token=token),
            ended=state.ended | greedy.ends(token),
            output=write(state.output, token, state.step),
            cache=cache,
        )

    answers = jnp.full((*lanes.lead, batch, new), greedy.pad_id, jnp.int32)
    first = _Answers(jnp.int32(1), last, ended, write(answers, last.token, 0), cache)
    return while_loop(STEPS, unfinished, decode, first).output
