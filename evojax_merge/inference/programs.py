"""The device program that a fitness task needs, for a population of models."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.fitness.base import Batch, BoundTask
from evojax_merge.fitness.generation import BoundGeneration
from evojax_merge.inference.generation import make_generate
from evojax_merge.inference.scoring import make_loglikelihood
from evojax_merge.models import Family
from evojax_merge.models.decoder.path import PATH
from evojax_merge.population import population_axes
from evojax_merge.types import Array, Params

Program = Callable[..., Array]
"""(parameters of a population, *fields of a batch) -> outputs with a leading population axis."""

_FEW = 8
"""Answers at a time below which less memory is no longer worth the time."""


def make_program(
    family: Family, config: Any, task: BoundTask, axes: Any = None, slots: int | None = None
) -> Program:
    """The program of the task's kind.

    Args:
        family: Of all candidates.
        config: Theirs.
        task: What they are to do.
        axes: Where the population stands in their parameters; by default
            `evojax_merge.population.population_axes`.
        slots: Answers of a candidate that memory holds at a time, see `slots_that_fit`; by default
            those of the task.

    Raises:
        ValueError: Models of this family cannot run it.
    """
    if task.kind == "size":
        return count_hops
    if (task.kind == "classify") != (family.name == "mlp"):
        raise ValueError(f"a {family.name} model cannot be measured by a {task.kind} task")
    if isinstance(task, BoundGeneration):
        return make_generate(
            config,
            max_new_tokens=task.max_new_tokens,
            eos_ids=task.eos_ids,
            pad_id=task.pad_id,
            axes=axes,
            prefix=task.shared_prefix,
            slots=slots or task.slots,
        )
    if task.kind == "loglikelihood":
        return make_loglikelihood(config, axes, getattr(task, "shared_prefix", 0))
    return _make_classify(family, config)


def count_hops(params: Params, layers: Array) -> Array:
    """Layers that each candidate runs, over those given; all of its own where it has no path."""
    if PATH in params:
        return params[PATH].length[:, None] / layers
    lead = jax.tree.leaves(params["layers"])[0].shape
    return jnp.full((lead[1], 1), lead[0]) / layers


def _make_classify(family: Family, config: Any) -> Program:
    def classify(params: Params, inputs: Array) -> Array:
        def one(params: Params, inputs: Array) -> Array:
            return family.forward(config, params, inputs)

        return jax.vmap(one, in_axes=(population_axes(params), None))(params, inputs)

    return classify


def batch_bytes(
    family: Family,
    config: Any,
    task: BoundTask,
    batch: Batch,
    itemsize: int,
    hops: int | None = None,
    slots: int | None = None,
) -> int:
    """Upper estimate of a candidate's cache and activations on one batch, in bytes.

    Args:
        family: Of the candidate.
        config: Its own.
        task: What it does.
        batch: On what.
        itemsize: Bytes of a number.
        hops: Greatest length of its path, where it has one.
        slots: Answers it writes at a time; None: those of the task.
    """
    if task.kind == "size":
        return 0
    if task.kind == "classify":
        return 4 * batch[0].shape[0] * 2 * max(config.hidden_sizes)
    rows, seq = batch[0].shape
    if isinstance(task, BoundGeneration):
        rows = min(rows, slots or task.slots or rows)
    prefix = getattr(task, "shared_prefix", 0)
    seq -= prefix
    width = 4 * config.hidden_size + 2 * config.intermediate_size
    activations = rows * seq * (width * itemsize + 4 * config.num_heads * (prefix + seq))
    if task.kind == "loglikelihood":
        return activations + 4 * rows * seq * config.vocab_size * 2
    room = seq
    if isinstance(task, BoundGeneration):
        room += task.max_new_tokens
    token = 2 * (hops or config.num_layers) * config.num_kv_heads * config.head_dim
    cache = token * (room * rows + prefix)
    return activations + itemsize * cache * 2 + 4 * rows * config.vocab_size


def slots_that_fit(task: BoundTask, room: int, work: Callable[[int | None], int]) -> int | None:
    """Answers that a candidate writes at a time, so that memory holds what that takes.

    Args:
        task: What it does.
        room: Bytes there are for one candidate.
        work: Slots -> bytes that they take.

    Returns:
        Half as many as there are, again and again, until they fit or are few; None where the task
        writes nothing or all that it asks for fit.
    """
    if not isinstance(task, BoundGeneration):
        return None
    slots = task.slots
    while work(slots) > room:
        halved = (slots or max(len(batch.tokens) for batch in task.batches)) // 2
        if halved < _FEW:
            break
        slots = halved
    return slots
