"""The whole state of a search as one pytree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.params.types import Array, Fitness, Float, Int, Population, PRNGKey


class Archive(NamedTuple):
    """The best distinct candidates so far, the best first; empty places have fitness -inf."""

    genotypes: Float[Array, "size dims"]
    fitness: Float[Array, " size"]


class EvolutionState(NamedTuple):
    """What a search needs to go on.

    Attributes:
        generation: The number of completed generations.
        key: The root of all randomness; a generation's key is folded from it.
        strategy: The state of the strategy.
        archive: The best candidates.
    """

    generation: Int[Array, ""]
    key: PRNGKey
    strategy: Any
    archive: Archive


class Spent(NamedTuple):
    """What a search has cost so far.

    Attributes:
        evaluations: The number of candidates.
        item_evaluations: The number of items that were measured for them.
        seconds: The time that it took to measure them.
    """

    evaluations: int = 0
    item_evaluations: int = 0
    seconds: float = 0.0

    def plus(self, more: "Spent") -> "Spent":
        """The sum of both."""
        return Spent(
            self.evaluations + more.evaluations,
            self.item_evaluations + more.item_evaluations,
            self.seconds + more.seconds,
        )


def on_host(tree: Any) -> Any:
    """A state, or a part of it, in the memory of the host; a key is there as its numbers."""
    return jax.tree.map(
        lambda leaf: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf), tree
    )


def is_key(leaf: Any) -> bool:
    """Whether a leaf of a state is a key of randomness."""
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def placed(like: Any, numbers: np.ndarray) -> Any:
    """A leaf of the host on the device, free to move to others, as the key that it stands for."""
    leaf = jax.device_put(numbers)
    return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like)) if is_key(like) else leaf


def as_bytes(state: EvolutionState) -> bytes:
    """A state as `from_bytes` reads it."""
    return b"".join(leaf.tobytes() for leaf in jax.tree.leaves(on_host(state)))


def from_bytes(like: EvolutionState, content: bytes) -> EvolutionState:
    """A state with the structure, shapes and dtypes of another one."""
    leaves, structure = jax.tree.flatten(like)
    found, first = [], 0
    for leaf, shape in zip(leaves, on_host(leaves), strict=True):
        count = shape.size * shape.itemsize
        numbers = np.frombuffer(content[first : first + count], shape.dtype).reshape(shape.shape)
        found.append(placed(leaf, numbers))
        first += count
    return jax.tree.unflatten(structure, found)


def init_archive(size: int, dims: int) -> Archive:
    """An archive with ``size`` empty places."""
    genotypes, fitness = np.zeros((size, dims), np.float32), np.full(size, -np.inf, np.float32)
    return Archive(jax.device_put(genotypes), jax.device_put(fitness))


@jax.jit
def update_archive(archive: Archive, population: Population, fitness: Fitness) -> Archive:
    """Keep the best, each genotype once; of equal fitness, the one found first is better."""
    genotypes = jnp.concatenate([archive.genotypes, population])
    scores = jnp.concatenate([archive.fitness, fitness])
    scores = jnp.where(jnp.isfinite(scores), scores, -jnp.inf)
    same = jnp.all(genotypes[:, None] == genotypes[None], axis=-1) & jnp.isfinite(scores)[None]
    earlier = jnp.tril(jnp.ones_like(same), k=-1)
    scores = jnp.where(jnp.any(same & earlier, axis=1), -jnp.inf, scores)
    best = jnp.argsort(-scores, stable=True)[: archive.fitness.shape[0]]
    return Archive(genotypes[best], scores[best])
