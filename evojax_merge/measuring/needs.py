"""How often the loops of programs turn that data end, and the bytes that programs need at least."""

import math
from typing import Any, NamedTuple

import jax

from evojax_merge.costs.turns import Turns
from evojax_merge.measuring.workload import Workload
from evojax_merge.models.decoder.inference.continuous import refill_of
from evojax_merge.models.request import Generate, Request
from evojax_merge.models.split import bytes_per_device
from evojax_merge.params.loops import CANDIDATES, HOPS, REFILLS, STEPS


class Work(NamedTuple):
    """What a program does on a batch.

    Attributes:
        turns: How often its loops turn.
        steps: How many tokens of answers it writes one after another, 0 where it writes none.
        readings: How often it reads prompts.
        rows: How many answers it writes at a time.
        in_use: The share of a cache's slots that is in use, on the average.
    """

    turns: Turns
    steps: float = 0.0
    readings: float = 1.0
    rows: int = 0
    in_use: float = 1.0


def work_of(
    request: Request, batch: Any, hops: int | None, answer_tokens: int | None = None
) -> Work:
    """Say what a program does on a batch, if every answer has the same length.

    Args:
        request: What it asks of a candidate.
        batch: The batch.
        hops: The length of paths, where candidates are paths.
        answer_tokens: The tokens of each answer; by default, as many as may be.
    """
    loops: dict[str, float] = {} if hops is None else {HOPS: hops}
    if not isinstance(request, Generate):
        return Work(Turns(loops))
    count, seq = batch[0].shape
    new = min(request.max_new_tokens, answer_tokens or request.max_new_tokens)
    rows = min(count, request.slots or count)
    steps, readings = float(new - 1), 1.0
    if request.beams > 1:
        readings = math.ceil(count / rows)
        loops[STEPS] = steps
        steps *= readings
    elif rows < count:
        readings = math.ceil(count / refill_of(rows))
        steps = max(steps, math.ceil(count / rows * steps))
        loops |= {REFILLS: readings, STEPS: steps / readings}
    else:
        loops[STEPS] = steps
    ring = seq + request.max_new_tokens
    return Work(Turns(loops), steps, readings, rows, min(1.0, (seq + new / 2) / ring))


def merging_turns(chunk: int) -> Turns:
    """How often the loop of a merge turns."""
    return Turns({CANDIDATES: chunk})


def merging_bytes(work: Workload) -> float:
    """The bytes that a device cannot but move to merge a chunk: materials and results once each."""
    return work.chunk * bytes_per_device(work.materials) + bytes_per_device(work.buffer)


def running_bytes(
    work: Workload, request: Request, done: Work, config: Any, batch: Any, parts: int
) -> float:
    """The bytes that a device cannot but move to run a chunk of candidates on a batch.

    Weights count once for each reading of prompts and for each step of answers, without tables that
    are only looked up in, and the slots in use of the cache once for each step.

    Args:
        work: What the devices hold.
        request: What each candidate is asked.
        done: What the program does.
        config: The configuration of the models.
        batch: The batch.
        parts: The number of devices that share a candidate.
    """
    weights = bytes_per_device((work.buffer, work.shared))
    given = bytes_per_device(tuple(batch))
    if not isinstance(request, Generate):
        return weights + given
    text = getattr(config, "text", config)
    itemsize = 2 if _narrow(work) else 4
    if not getattr(text, "tie_word_embeddings", True):
        weights -= work.chunk * itemsize * text.vocab_size * text.hidden_size // parts
    seq = batch[0].shape[1]
    token = 2 * text.num_layers * text.num_kv_heads * text.head_dim * itemsize / parts
    slots = done.in_use * (seq + request.max_new_tokens * request.beams)
    cache = work.chunk * done.rows * slots * token
    return (done.readings + done.steps) * weights + done.steps * cache + given


def itemsize_of(work: Workload) -> int:
    """The bytes of a number that candidates compute with."""
    return 2 if _narrow(work) else 4


def _narrow(work: Workload) -> bool:
    leaves = jax.tree.leaves((work.buffer, work.shared))
    floats = [leaf for leaf in leaves if leaf.dtype.kind not in "iub"]
    return bool(floats) and max(leaf.dtype.itemsize for leaf in floats) == 2
