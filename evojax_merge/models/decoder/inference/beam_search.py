"""Beam search with a whole population, in one compiled program.

A prompt is read once, and stands once in the cache. Behind it each beam has a slot for each token,
and sees those that its own ancestors wrote (see `Branches`). So nothing in the cache is copied when
beams part and end, where an implementation with a cache for each beam copies all of it at every
token. A step reads the keys and values of a row once for all of its beams.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models.decoder.attention import Branches
from evojax_merge.models.decoder.cache import Caches, with_room
from evojax_merge.models.decoder.inference.beams import Beams, advance, begin
from evojax_merge.models.decoder.inference.decoding import Decoding, Prompts
from evojax_merge.models.decoder.inference.lanes import Lanes
from evojax_merge.models.decoder.inference.prefix import Primed
from evojax_merge.models.decoder.inference.repetition import penalised, with_token
from evojax_merge.params.loops import STEPS, while_loop
from evojax_merge.params.types import Array, Bool, Float, Int


class _State(NamedTuple):
    """Beam search of one candidate, or of a population.

    Attributes:
        beams: The beams.
        token: The last token of each running beam, not yet in the cache.
        seen: Which tokens of the vocabulary stand in each prompt and beam, or None without a
            penalty on them.
        lineage: Which slots each beam sees, that of its last token included.
        cache: The prompts, and the tokens of all beams.
    """

    beams: Beams
    token: Int[Array, "*pop rows beams"]
    seen: Bool[Array, "*pop rows beams vocab"] | None
    lineage: Bool[Array, "*pop rows beams slots"]
    cache: Caches


_Clocked = tuple[Int[Array, ""], _State]
"""How many tokens the beams have written, and the search."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamSearch(Decoding):
    """Beam search with one kind of decoder.

    Attributes:
        beams: The number of beams of each prompt.
    """

    beams: int

    def prefill(self, model: Primed, prompts: Prompts) -> _State:
        """Read prompts and write the first token of each beam."""
        rows, length = prompts.tokens.shape
        logits, cache = self.read(model, prompts, length)
        seen = self.seen_in(prompts)
        nothing = jnp.zeros((rows, self.beams, self.max_new_tokens * self.beams), bool)
        lineage = jnp.pad(nothing, ((0, 0), (0, 0), (length, 0)), constant_values=True)

        def each_beam(of_row: Array) -> Array:
            return jnp.repeat(of_row[:, None], self.beams, axis=1)

        first = _State(
            beams=begin(rows, self.beams, self.max_new_tokens, self.pad_id),
            token=jnp.zeros((rows, self.beams), jnp.int32),
            seen=None if seen is None else each_beam(seen),
            lineage=lineage,
            cache=with_room(cache, self.max_new_tokens * self.beams),
        )
        return self._choose(first, each_beam(logits), length, jnp.int32(0))

    def decode(
        self, model: Primed, state: _State, prompts: Prompts, written: Int[Array, ""]
    ) -> _State:
        """Write one more token of each beam."""
        length = prompts.tokens.shape[1]
        written_at = length + np.repeat(np.arange(self.max_new_tokens), self.beams)
        branches = Branches(
            slot=length + (written - 1) * self.beams,
            times=np.concatenate([np.arange(length), written_at]),
            lineage=state.lineage,
        )
        time = length + written - 1
        logits, cache = self.go_on(model, state.token, prompts.start, state.cache, time, branches)
        return self._choose(state._replace(cache=cache), logits, length, written)

    def _choose(
        self,
        state: _State,
        logits: Float[Array, "rows beams vocab"],
        length: int,
        written: Int[Array, ""],
    ) -> _State:
        """Let the beams go on, behind prompts of a length, by the best tokens."""
        scores, seen = jax.nn.log_softmax(logits), state.seen
        if seen is not None:
            scores = penalised(scores, seen, self.repetition_penalty)
        ends = self.ends(jnp.arange(logits.shape[-1]))
        beams, step = advance(state.beams, scores, ends, written)
        own = length + written * self.beams + jnp.arange(self.beams)
        slot = jnp.arange(state.lineage.shape[-1])
        return state._replace(
            beams=beams,
            token=step.token,
            seen=None if seen is None else with_token(step.follow(seen), step.token),
            lineage=step.follow(state.lineage) | (slot == own[:, None]),
        )


def search_in_groups(
    search: BeamSearch, lanes: Lanes, prompts: Prompts, size: int
) -> Int[Array, "*pop prompts new"]:
    """Compute the answers of every candidate, to so many prompts at a time."""
    count = len(prompts.tokens)
    if count <= size:
        return _search(search, lanes, prompts)
    groups = jnp.arange(-(-count // size) * size).reshape(-1, size)

    def answer(group: Int[Array, " size"]) -> Int[Array, "*pop size new"]:
        rows = jnp.minimum(group, count - 1)
        chosen = lanes._replace(of=lanes.of.before(rows))
        return _search(search, chosen, prompts.of(rows))

    answers = jnp.moveaxis(jax.lax.map(answer, groups), 0, -3)
    return answers.reshape(*lanes.lead, -1, search.max_new_tokens)[..., :count, :]


def _search(search: BeamSearch, lanes: Lanes, prompts: Prompts) -> Int[Array, "*pop prompts new"]:
    """Search until no answer of any candidate can be surpassed, and return the best."""

    def unfinished(clocked: _Clocked) -> Bool[Array, ""]:
        written, state = clocked
        return (written < search.max_new_tokens) & jnp.any(state.beams.open)

    def decode(clocked: _Clocked) -> _Clocked:
        written, state = clocked

        def step(model: Primed, state: _State) -> _State:
            return search.decode(model, state, prompts, written)

        return written + 1, lanes.each(step, state)

    def prefill(model: Primed) -> _State:
        return search.prefill(model, prompts)

    begun = (jnp.int32(1), lanes.each(prefill))
    _, state = while_loop(STEPS, unfinished, decode, begun)
    return state.beams.answers[..., 0, :]
