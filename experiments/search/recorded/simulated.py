"""Searches' landscape from a model of the items, with the noise that items have.

A merge is deterministic: asked again, it solves the same items, and so do most merges close to it.
Results drawn anew for each candidate would have far more noise than real ones. An item is therefore
solved where its probability exceeds Φ(z), with z a Gaussian random field over genotypes, one for
each item and seed. At any genotype z is standard normal, so that probabilities are kept; close
genotypes have nearly the same z. The length scale of the field is fitted to how many items two
candidates of one shard answer differently.

[1] Rahimi, Recht, Random features for large-scale kernel machines, 2007: the field is a sum of
    cosines.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.params.types import Array, Bool, Float, Int, PRNGKey
from evojax_merge.strategies import Setting
from experiments.search.recorded.item_model import ItemModel, held_out, probabilities, scaled, taken
from experiments.search.recorded.records import Record
from experiments.search.recorded.searches import Populations

FEATURES = 64
SCALES = (0.001, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 100.0)
"""The length scales tried, as shares of half the box's diagonal; with the first every candidate has
results of its own, with the last all candidates meet the same thresholds."""
PAIRS = 2_000


class Field(NamedTuple):
    """Gaussian random fields over genotypes.

    Attributes:
        directions: The frequencies, common to all fields.
        phases: The phases of the cosines.
        weights: The weight of each cosine in each field.
    """

    directions: Float[Array, "features dims"]
    phases: Float[Array, " features"]
    weights: Float[Array, "features items"]


def make_field(key: PRNGKey, dims: int, items: int, scale: float) -> Field:
    """Draw a field for each item.

    Args:
        key: The randomness.
        dims: The number of genes.
        items: The number of items.
        scale: The length scale, a share of half the box's diagonal.
    """
    key_directions, key_phases, key_weights = jax.random.split(key, 3)
    return Field(
        jax.random.normal(key_directions, (FEATURES, dims)) / (scale * np.sqrt(dims)),
        jax.random.uniform(key_phases, (FEATURES,), maxval=2 * np.pi),
        jax.random.normal(key_weights, (FEATURES, items)),
    )


def field_values(field: Field, inputs: Float[Array, "pop dims"]) -> Float[Array, "pop items"]:
    """The fields at some genotypes, on the scale of the box (`item_model.scaled`)."""
    waves = jnp.cos(inputs @ field.directions.T + field.phases)
    return waves / jnp.linalg.norm(waves, axis=-1, keepdims=True) @ field.weights


def solved(
    model: ItemModel, field: Field, genotypes: Float[Array, "pop dims"]
) -> Bool[Array, "pop items"]:
    """Which items candidates solve."""
    likely = probabilities(model, genotypes)
    return jax.scipy.special.ndtr(field_values(field, scaled(model, genotypes))) < likely


class Simulated:
    """The landscape of several seeds, each with items and fields of its own.

    Args:
        model: What says how likely candidates solve items.
        record: What the model was fitted to.
        scale: The length scale of the fields.
        items: How many of the search items each seed has.
        seeds: The seeds.

    Raises:
        ValueError: There are fewer search items.

    Attributes:
        setting: The bounds and the start of the experiment.
        rows: The search items of each seed.
    """

    def __init__(
        self, model: ItemModel, record: Record, scale: float, items: int, seeds: Sequence[int]
    ) -> None:
        self.setting = Setting(record.lower, record.upper, record.start, items=items)
        self.rows = rows = choose_items(record.searched, items, seeds)
        keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
        dims, searched = len(record.lower), record.searched
        fields = jax.vmap(lambda key: make_field(jax.random.fold_in(key, 1), dims, items, scale))(
            keys
        )
        own = jax.vmap(lambda rows: taken(model, rows))(jnp.asarray(rows))
        self._own = own, fields
        self._results = jax.jit(jax.vmap(solved))
        held_out = taken(model, jnp.arange(searched, record.items))
        self._scores = jax.jit(lambda genotypes: probabilities(held_out, genotypes).mean(axis=1))

    def results(self, populations: Populations) -> Float[np.ndarray, "seeds pop items"]:
        """Whether each candidate solves each item of its seed."""
        return np.asarray(self._results(*self._own, populations), np.float32)

    def scores(self, genotypes: Float[np.ndarray, "seeds dims"]) -> Float[np.ndarray, " seeds"]:
        """The expected accuracy on the held-out items, without noise."""
        return np.asarray(self._scores(genotypes))


def choose_items(searched: int, items: int, seeds: Sequence[int]) -> Int[np.ndarray, "seeds items"]:
    """The search items of each seed.

    Raises:
        ValueError: There are fewer.
    """
    if items > searched:
        raise ValueError(f"{items} items are asked for, and {searched} search items are recorded")
    return np.stack(
        [
            np.sort(np.random.default_rng((seed, 2)).choice(searched, items, replace=False))
            for seed in seeds
        ]
    )


class Differing(NamedTuple):
    """Pairs of candidates of one shard.

    Attributes:
        distance: Between their genotypes, a share of half the box's diagonal.
        recorded: The share of items that they answered differently.
        simulated: The same with each of `SCALES`.
    """

    distance: Float[np.ndarray, " pairs"]
    recorded: Float[np.ndarray, " pairs"]
    simulated: Float[np.ndarray, "scales pairs"]

    @property
    def scale(self) -> float:
        """The length scale with which simulated pairs are most like recorded ones."""
        return SCALES[int(self._away().argmin())]

    @property
    def best(self) -> Float[np.ndarray, " pairs"]:
        """The share of items that differ with that scale."""
        return self.simulated[self._away().argmin()]

    def _away(self) -> Float[np.ndarray, " scales"]:
        # Of square roots, whose spread is the same for few and for many items that differ.
        return np.square(np.sqrt(self.simulated) - np.sqrt(self.recorded)).mean(axis=1)


def differing(model: ItemModel, record: Record, seed: int = 0) -> Differing:
    """How differently pairs of held-out candidates answer, in the record and by the model.

    Both of a pair are of the same shard, as those that a search compares are of one generation.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(held_out(record))
    first = rng.choice(rows, PAIRS)
    second = np.array([rng.choice(rows[record.shard[rows] == record.shard[one]]) for one in first])
    first, second = (each[first != second] for each in (first, second))
    met = record.measured[record.shard[first], : record.searched]
    differ = record.results[first] != record.results[second]
    ends = [jnp.asarray(record.genotypes[each], jnp.float32) for each in (first, second)]
    gap = scaled(model, ends[0]) - scaled(model, ends[1])
    own = taken(model, jnp.arange(record.searched))
    simulated = []
    for scale in SCALES:
        field = make_field(jax.random.key(seed), gap.shape[1], record.searched, scale)
        one, other = (np.asarray(solved(own, field, end)) for end in ends)
        simulated.append(((one != other) & met).sum(1) / met.sum(1))
    return Differing(
        np.asarray(jnp.linalg.norm(gap, axis=1)) / np.sqrt(gap.shape[1]),
        (differ[:, : record.searched] & met).sum(1) / met.sum(1),
        np.array(simulated),
    )
