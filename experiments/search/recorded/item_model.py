"""A model of which items a merge solves, from its genotype: an ensemble of small networks.

Each network has an output for every item, so that items share what is learnt of the genes. The
members differ in their start and in the order of the candidates. The probability is the mean of
theirs. Surrogate benchmarks of merging (arXiv 2509.02555) predict the mean score instead, of which
the noise by the choice of items cannot be told.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from evojax_merge.documents.files import write_whole
from evojax_merge.params.types import Array, Bool, Float, Int, PRNGKey
from experiments.search.recorded.records import Record

MEMBERS, HIDDEN = 2, 96
STEPS, BATCH = 2_000, 256
RATE, DECAY = 3e-3, 1e-2
SCARCE, SCARCE_DECAY = 1_000, 1.0
"""Where an item was measured on fewer candidates than the first, weights decay by the second. Else
the networks learn results by heart, and are too sure of themselves."""


class Network(NamedTuple):
    """Two hidden layers, and a direct way from the genes to the second."""

    first: Float[Array, "dims hidden"]
    first_bias: Float[Array, " hidden"]
    second: Float[Array, "hidden hidden"]
    direct: Float[Array, "dims hidden"]
    second_bias: Float[Array, " hidden"]
    last: Float[Array, "hidden items"]
    last_bias: Float[Array, " items"]


class ItemModel(NamedTuple):
    """The fitted ensemble.

    Attributes:
        lower: The least value of each gene.
        upper: The greatest value of each gene.
        networks: The members, stacked on their first axis.
    """

    lower: Float[Array, " dims"]
    upper: Float[Array, " dims"]
    networks: Network


def scaled(model: ItemModel, genotypes: Float[Array, "pop dims"]) -> Float[Array, "pop dims"]:
    """Genotypes on the scale of the box: −1 at the lower bounds, 1 at the upper."""
    return 2 * (genotypes - model.lower) / (model.upper - model.lower) - 1


def probabilities(
    model: ItemModel, genotypes: Float[Array, "pop dims"]
) -> Float[Array, "pop items"]:
    """The probability that each candidate solves each item."""
    logits = jax.vmap(_logits, in_axes=(0, None))(model.networks, scaled(model, genotypes))
    return jax.nn.sigmoid(logits).mean(axis=0)


def taken(model: ItemModel, rows: Int[Array, " rows"]) -> ItemModel:
    """The model of some of the items."""
    networks = model.networks
    last, bias = networks.last[..., rows], networks.last_bias[..., rows]
    return model._replace(networks=networks._replace(last=last, last_bias=bias))


def held_out(record: Record) -> Bool[np.ndarray, " pop"]:
    """Which candidates a model is not fitted to: the last two seeds of every search, of which one
    heard all items and one a few, and a tenth of the other shards."""
    searched = record.design >= 2
    last = np.array([record.seed[record.design == each].max() for each in range(len(record.names))])
    return np.where(searched, record.seed >= last[record.design] - 1, record.seed % 10 == 9)


def fit(record: Record, seed: int = 0, steps: int = STEPS) -> ItemModel:
    """Fit a model to the candidates that are not held out; the same ones give the same model."""
    rows = np.flatnonzero(~held_out(record))
    results = jnp.asarray(record.results[rows], jnp.bool_)
    measured = jnp.asarray(record.measured[record.shard[rows]], jnp.bool_)
    key_init, key_fit = jax.random.split(jax.random.key(seed))
    init = functools.partial(_init, dims=len(record.lower), items=record.items)
    networks = jax.vmap(init)(jax.random.split(key_init, MEMBERS))
    model = ItemModel(jnp.asarray(record.lower), jnp.asarray(record.upper), networks)
    inputs = scaled(model, jnp.asarray(record.genotypes[rows], jnp.float32))
    decay = DECAY if measured.sum(axis=0).mean() >= SCARCE else SCARCE_DECAY
    keys = jax.random.split(key_fit, MEMBERS)
    fitted = [
        _fit(
            jax.tree.map(lambda leaf, place=place: leaf[place], networks),
            key,
            inputs,
            results,
            measured,
            steps,
            decay,
        )
        for place, key in enumerate(keys)
    ]
    return model._replace(networks=jax.tree.map(lambda *leaves: jnp.stack(leaves), *fitted))


def save(model: ItemModel, path: Path) -> None:
    """Write a model."""
    leaves = jax.tree.leaves(model)

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez(file, *map(np.asarray, leaves))

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, write)


def load(path: Path) -> ItemModel:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as found:
        lower, upper, *network = (jnp.asarray(found[f"arr_{i}"]) for i in range(len(found)))
    return ItemModel(lower, upper, Network(*network))


def _init(key: PRNGKey, dims: int, items: int) -> Network:
    keys = jax.random.split(key, 5)

    def normal(key: PRNGKey, *shape: int) -> Array:
        return jax.random.normal(key, shape) / np.sqrt(shape[0])

    return Network(
        normal(keys[0], dims, HIDDEN) * 2,
        jax.random.uniform(keys[4], (HIDDEN,), minval=-1, maxval=1),
        normal(keys[1], HIDDEN, HIDDEN),
        normal(keys[2], dims, HIDDEN),
        jnp.zeros(HIDDEN),
        normal(keys[3], HIDDEN, items),
        jnp.zeros(items),
    )


def _logits(network: Network, inputs: Float[Array, "pop dims"]) -> Float[Array, "pop items"]:
    hidden = jax.nn.gelu(inputs @ network.first + network.first_bias)
    hidden = jax.nn.gelu(hidden @ network.second + inputs @ network.direct + network.second_bias)
    return hidden @ network.last + network.last_bias


@functools.partial(jax.jit, static_argnames=("steps", "decay"))
def _fit(
    network: Network,
    key: PRNGKey,
    inputs: Float[Array, "pop dims"],
    results: Bool[Array, "pop items"],
    measured: Bool[Array, "pop items"],
    steps: int,
    decay: float,
) -> Network:
    schedule = optax.cosine_decay_schedule(RATE, steps)
    optimizer = optax.adamw(schedule, weight_decay=decay)

    def loss(network: Network, rows: Array) -> Array:
        met = measured[rows]
        wrong = optax.sigmoid_binary_cross_entropy(_logits(network, inputs[rows]), results[rows])
        return jnp.where(met, wrong, 0).sum() / met.sum()

    def step(carry: tuple, key: PRNGKey) -> tuple[tuple, None]:
        network, state = carry
        rows = jax.random.randint(key, (BATCH,), 0, len(inputs))
        updates, state = optimizer.update(jax.grad(loss)(network, rows), state, network)
        return (optax.apply_updates(network, updates), state), None

    start = network, optimizer.init(network)
    (network, _), _ = jax.lax.scan(step, start, jax.random.split(key, steps))
    return network
