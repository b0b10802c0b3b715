"""Searches of a strategy with many seeds, as one compiled program."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from evojax_merge.params.types import Array, Float, Genotype, PRNGKey
from experiments.search.m2n2.methods import champion, score, told
from experiments.search.m2n2.network import DIMS, load, right

State = tuple[Any, Array, Genotype]
"""Of the strategy; the best training accuracy so far, and whose it is."""


def search(
    strategy: Any, keys: PRNGKey, *, records: int, generations: int, at_once: int
) -> Float[Array, "seeds records"]:
    """Test accuracy of the champion of each search, every ``generations`` generations.

    Args:
        strategy: What proposes candidates.
        keys: One for each search; a multiple of the number of devices.
        records: How often accuracy is measured.
        generations: Between one measurement and the next.
        at_once: Searches that a device vectorises; its groups follow one another. More than one is
            faster on an accelerator, and not on a CPU.
    """
    run = functools.partial(_one_search, strategy, records, generations)

    def share(keys: PRNGKey) -> Array:
        return jax.lax.map(run, keys, batch_size=at_once if at_once > 1 else None)

    mesh = jax.make_mesh((jax.device_count(),), ("seeds",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("seeds")
    spread = jax.shard_map(share, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    return jax.jit(spread)(keys)


def _one_search(
    strategy: Any, records: int, generations: int, key: PRNGKey
) -> Float[Array, " records"]:
    key_init, key_search = jax.random.split(key)
    test = load()[1]

    def generation(state: State, number: Array) -> tuple[State, None]:
        inner, accuracy, best = state
        key_ask, key_tell = jax.random.split(jax.random.fold_in(key_search, number))
        population, inner = strategy.ask(key_ask, inner)
        items = score(population)
        inner = strategy.tell(key_tell, population, told(strategy, items), inner)
        accuracies = items.mean(axis=1)
        top = accuracies.argmax()
        better = accuracies[top] > accuracy
        best = jnp.where(better, population[top], best)
        return (inner, jnp.maximum(accuracies[top], accuracy), best), None

    def record(state: State, numbers: Array) -> tuple[State, Array]:
        state, _ = jax.lax.scan(generation, state, numbers)
        inner, _, best = state
        return state, right(champion(strategy, inner, best), test).mean()

    state = (strategy.init(key_init), jnp.float32(-1), jnp.zeros(DIMS))
    numbers = jnp.arange(records * generations).reshape(records, generations)
    _, curve = jax.lax.scan(record, state, numbers)
    return curve
