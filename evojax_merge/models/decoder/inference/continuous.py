"""Greedy generation in which finished answers make room for waiting prompts.

Some slots decode. A slot whose answer has ended takes the next prompt, so that a long answer does
not hold the others (Yu et al., Orca, OSDI 2022). It is one compiled program of static shapes:

- All rows share one clock. At each step every row writes at the same place of the ring that the
  cache is, so that a step costs what it costs without a queue. A row differs by its ``start``, the
  time of its prompt's first token. What is older in its ring belongs to answers before.
- When enough slots are free, as many prompts are prefilled at once as if they had just ended, and
  put into those rows. Prefill runs outside of the decode loop, and no branch holds a cache.
- Every candidate of a population has its own queue. They wait for one another only in when a
  refill is due, as it costs the same for one of them as for all.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from evojax_merge.models.decoder.cache import Caches, admit
from evojax_merge.models.decoder.inference.decoding import Prompts
from evojax_merge.models.decoder.inference.greedy import Greedy, Last
from evojax_merge.models.decoder.inference.lanes import Lanes
from evojax_merge.models.decoder.inference.prefix import Primed, empty_cache
from evojax_merge.params.loops import REFILLS, STEPS, while_loop
from evojax_merge.params.types import Array, Bool, Int

_DUE = 0.75
"""A refill is due once it can take this share of its prompts, over a population."""


class _Queue(NamedTuple):
    """Slots and waiting prompts of one candidate, or of a population.

    Attributes:
        waiting: The first prompt that has had no slot yet.
        owner: The prompt that each slot answers or last answered, at first none.
        start: The time of the first token of each slot's prompt.
        written: The number of tokens of each slot's answer.
        active: Whether the answer goes on.
        last: The last token of each answer.
        answer: All tokens of each answer.
        output: The answers that have left their slots.
        cache: The cache of the slots.
    """

    waiting: Int[Array, " *pop"]
    owner: Int[Array, "*pop slots"]
    start: Int[Array, "*pop slots"]
    written: Int[Array, "*pop slots"]
    active: Bool[Array, "*pop slots"]
    last: Last
    answer: Int[Array, "*pop slots new"]
    output: Int[Array, "*pop prompts new"]
    cache: Caches


_State = tuple[Int[Array, ""], _Queue]
"""The time at which the last tokens are put into the cache, and the queue."""


def refill_of(slots: int) -> int:
    """Return how many prompts are prefilled at a time where it is not said: 1 / 8 of the slots.

    A larger group reads the weights less often. It also waits for more slots to fall free, which
    idle in the meantime, and that costs more (see docs/results/compiled.md).
    """
    return max(1, slots // 8)


def answer_in_turn(
    greedy: Greedy,
    lanes: Lanes,
    prompts: Prompts,
    slots: int,
    refill: int,
) -> Int[Array, "*pop prompts new"]:
    """Compute the answers of every candidate to all prompts.

    Args:
        greedy: The decoding that a step does.
        lanes: The candidates.
        prompts: The prompts.
        slots: How many prompts are answered at a time, fewer than there are.
        refill: How many prompts are prefilled at a time, at most ``slots``.
    """
    count, length = prompts.tokens.shape
    share = _DUE if lanes.lead else 1.0

    def is_due(queue: _Queue) -> Bool[Array, ""]:
        wanted = jnp.minimum(count - queue.waiting, refill)
        possible = jnp.minimum(wanted, jnp.sum(~queue.active, axis=-1))
        return (jnp.sum(possible) >= share * jnp.sum(wanted)) & jnp.any(wanted > 0)

    def goes_on(state: _State) -> Bool[Array, ""]:
        return jnp.any(state[1].active) & ~is_due(state[1])

    def unfinished(state: _State) -> Bool[Array, ""]:
        return jnp.any(state[1].waiting < count) | jnp.any(state[1].active)

    def decode(state: _State) -> _State:
        time, queue = state

        def step(model: Primed, queue: _Queue) -> _Queue:
            return _step(greedy, model, queue, time)

        return time + 1, lanes.each(step, queue)

    def turn(state: _State) -> _State:
        time, queue = state

        def fill(model: Primed, queue: _Queue) -> _Queue:
            return _refill(greedy, model, queue, time, prompts, refill)

        return while_loop(STEPS, goes_on, decode, (time, lanes.each(fill, queue)))

    def empty(model: Primed) -> _Queue:
        return _empty(greedy, model, slots, count, length)

    begin = (jnp.int32(length), lanes.each(empty))
    _, queue = while_loop(REFILLS, unfinished, turn, begin)
    return lanes.each(lambda _, queue: _with_answers(queue), queue)


def _empty(greedy: Greedy, model: Primed, slots: int, prompts: int, length: int) -> _Queue:
    new, zeros = greedy.max_new_tokens, jnp.zeros(slots, jnp.int32)
    seen = jnp.zeros((slots, greedy.config.vocab_size), bool) if greedy.looks_back else None
    return _Queue(
        waiting=jnp.int32(0),
        owner=zeros + prompts,
        start=zeros,
        written=zeros,
        active=zeros > 0,
        last=Last(zeros, seen),
        answer=jnp.full((slots, new), greedy.pad_id, jnp.int32),
        output=jnp.full((prompts, new), greedy.pad_id, jnp.int32),
        cache=empty_cache(greedy.config, model.params, slots, length + new),
    )


def _refill(
    greedy: Greedy,
    model: Primed,
    queue: _Queue,
    time: Int[Array, ""],
    prompts: Prompts,
    refill: int,
) -> _Queue:
    """Put waiting prompts into free slots, as if they had ended just before ``time``."""
    count, length = prompts.tokens.shape
    slots = len(queue.owner)
    free = jnp.nonzero(~queue.active, size=refill, fill_value=slots)[0]
    chosen = queue.waiting + jnp.arange(refill)
    rows = jnp.where(chosen < count, free, slots)  # there is no such row: nothing is written
    read = jnp.minimum(chosen, count - 1)
    last, cache = greedy.prefill(model.before(read), prompts.of(read), length)
    answer = jnp.full((refill, greedy.max_new_tokens), greedy.pad_id, jnp.int32)

    def put(old: Array, new: Array | int) -> Array:
        return old.at[rows].set(new, mode="drop")

    return _Queue(
        waiting=queue.waiting + jnp.sum(rows < slots),
        owner=put(queue.owner, chosen),
        start=put(queue.start, time - length + prompts.start[read]),
        written=put(queue.written, 1),
        active=put(queue.active, ~greedy.ends(last.token) & (greedy.max_new_tokens > 1)),
        last=jax.tree.map(put, queue.last, last),
        answer=put(queue.answer, answer.at[:, 0].set(last.token)),
        output=_with_answers(queue),
        cache=admit(queue.cache, cache, rows, time - length),
    )


def _step(greedy: Greedy, model: Primed, queue: _Queue, time: Int[Array, ""]) -> _Queue:
    """Write one more token of each answer that goes on."""
    start = jnp.where(queue.active, queue.start, time)  # an idle row's position must not grow
    last, cache = greedy.decode(model.before(queue.owner), queue.last, start, queue.cache, time)
    place = jnp.arange(greedy.max_new_tokens) == queue.written[:, None]
    written = queue.written + queue.active
    return queue._replace(
        written=written,
        active=queue.active & ~greedy.ends(last.token) & (written < greedy.max_new_tokens),
        last=last,
        answer=jnp.where(place & queue.active[:, None], last.token[:, None], queue.answer),
        cache=cache,
    )


def _with_answers(queue: _Queue) -> Int[Array, "prompts new"]:
    """Return the output with the answers that stand in the slots."""
    return queue.output.at[queue.owner].set(queue.answer, mode="drop")
