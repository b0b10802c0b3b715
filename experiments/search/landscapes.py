"""Functions whose optimum is known, as gaps: 1 at the start of a search, 0 at the optimum.

BBOB (Hansen et al., 2009, https://inria.hal.science/inria-00362633) as evosax has it, functions of
choices and real numbers, and a synthetic data-flow genotype.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from evosax.problems.bbob.bbob_fns import bbob_fns

from evojax_merge.params.types import Array, Float, Genotype, Population
from evojax_merge.spaces.dataflow import BIAS, INDICATOR, SPAN, DataflowSpace

FUNCTIONS = (  # at least one of each of the five groups, with the optimum 0
    "sphere",
    "rastrigin",
    "rosenbrock",
    "attractive_sector",
    "ellipsoidal_rotated",
    "sharp_ridge",
    "schaffers_f7",
    "schwefel",
)
HALF = 5.0
"""BBOB's box is [−5, 5] in every gene."""


class Box(NamedTuple):
    """What a strategy is given of a space."""

    lower: np.ndarray
    upper: np.ndarray
    start: np.ndarray
    span: np.ndarray
    choices: np.ndarray | None = None


class Instance(NamedTuple):
    """A function of BBOB shifted and rotated at random."""

    which: Array
    optimum: Genotype
    rotation: Float[Array, "dims dims"]
    rotation_2: Float[Array, "dims dims"]


def make_instance(name: str, dims: int, seed: int) -> Instance:
    """The same for every strategy."""
    rng = np.random.default_rng([FUNCTIONS.index(name), dims, seed])
    # rosenbrock's optimum lies in [−3, 3], which suits the others too.
    optimum = rng.uniform(-3, 3, dims)
    rotations = [np.linalg.qr(rng.normal(size=(dims, dims)))[0] for _ in range(2)]
    arrays = [jnp.asarray(array, jnp.float32) for array in (optimum, *rotations)]
    return Instance(jnp.int32(FUNCTIONS.index(name)), *arrays)


def bbob_gap(population: Population, instance: Instance) -> Float[Array, " pop"]:
    """f(x) / f(middle of the box); which function is data, so that one program serves all."""
    dims = population.shape[1]

    def branch(name: str) -> Callable[[Population], Array]:
        def value(x: Genotype) -> Array:
            cost, penalty = bbob_fns[name](
                x, instance.optimum, instance.rotation, instance.rotation_2, dims
            )
            return cost + penalty

        return jax.vmap(value)

    with_start = jnp.concatenate([population, jnp.zeros((1, dims))])
    cost = jax.lax.switch(instance.which, [branch(name) for name in FUNCTIONS], with_start)
    return cost[:-1] / cost[-1]


MIXED = (
    "sphere, one-max",
    "ellipsoid, one-max",
    "sphere, leading ones",
    "switched on, mild",
    "switched on, strong",
    "moved optimum",
    "sphere, one of five",
)
"""Functions of as many choices as real numbers; the last has five categories, the others two."""

CONDITION = 1e3
MILD, STRONG = 0.5, 2.0
"""What a layer that belongs on the path costs while its scale is where the search starts, in units
of what it costs to leave it out."""


class MixedInstance(NamedTuple):
    """The category that each choice should have, and the number that each real gene should be."""

    categories: Array
    optimum: Array


def mixed_box(name: str, pairs: int) -> Box:
    """Choices, then real numbers, all from the middle, each category as likely as the others."""
    counts = np.full(pairs, 5 if name.endswith("five") else 2)
    lower = np.append(np.where(counts == 2, -1.0, 0.0), np.full(pairs, -HALF))
    upper = np.append(np.where(counts == 2, 1.0, counts), np.full(pairs, HALF))
    likely = np.full((pairs, counts[0]), 1 / counts[0])
    choices = np.concatenate([likely, np.zeros_like(likely)])
    return Box(lower, upper, (lower + upper) / 2, upper - lower, choices)


def make_mixed_instance(name: str, pairs: int, seed: int) -> MixedInstance:
    """The same for every strategy."""
    rng = np.random.default_rng([MIXED.index(name), pairs, seed])
    categories = rng.integers(5 if name.endswith("five") else 2, size=pairs)
    distance = rng.uniform(1, 3, pairs) * rng.choice([-1, 1], pairs)
    return MixedInstance(jnp.asarray(categories), jnp.asarray(distance, jnp.float32))


def make_mixed_gap(name: str, box: Box) -> Callable[[Population, Any], Float[Array, " pop"]]:
    """Half the error of the choices, half that of the real numbers, in units of the start's.

    ``one-max`` counts the wrong choices, ``leading ones`` those from the first wrong one on. Where
    a gene is ``switched on`` by its choice, its error counts only then, as that of a scale counts
    only on a path. With a ``moved optimum`` a wrong choice has an optimum of its own on the other
    side of the start.
    """
    pairs = len(box.start) // 2
    count = box.choices.shape[1] if box.choices is not None else 2
    lower, upper = (jnp.asarray(bound[:pairs], jnp.float32) for bound in (box.lower, box.upper))
    scales = (
        CONDITION ** (np.arange(pairs) / (pairs - 1)) if "ellipsoid" in name else np.ones(pairs)
    )
    random_error = (count - 1) / count

    def gap(population: Population, instance: MixedInstance) -> Float[Array, " pop"]:
        part = (population[:, :pairs] - lower) / (upper - lower) * count
        chosen = jnp.clip(jnp.floor(part), 0, count - 1)
        wrong = chosen != instance.categories
        reals, optimum = population[:, pairs:], instance.optimum
        error, start = scales * jnp.square(reals - optimum), scales * jnp.square(optimum)
        if "leading" in name:
            wrong = jnp.cumsum(wrong, axis=1) > 0
            choices = jnp.mean(wrong, axis=1) / (1 - 1 / pairs)
        elif "switched" in name:
            strength = STRONG if "strong" in name else MILD
            counted = (chosen == 1) * strength * error / start
            return jnp.mean(wrong + counted, axis=1) / (0.5 + 0.5 * strength)
        else:
            choices = jnp.mean(wrong, axis=1) / random_error
        if "moved" in name:
            error = jnp.square(reals - jnp.where(wrong, -optimum, optimum))
        return 0.5 * choices + 0.5 * jnp.sum(error, axis=1) / jnp.sum(start)

    return gap


class DataflowInstance(NamedTuple):
    """What the signs and the scales of a genotype should be, and how much each matters."""

    signs: Array
    sign_weights: Array
    scales: Array
    scale_weights: Array


def dataflow_box(signs: int, scaling: str = "matrix") -> Box:
    """The genes of paths, of which the first are indicators: 192 as the paper's two models of 32
    layers have them, otherwise as if a path had more slots and fewer scales. With a ``matrix`` they
    are 4,288, with a scale for each ``hop`` 384."""
    space = DataflowSpace(("a", "b"), (32, 32), repeats=3, scaling=scaling)
    if signs == space.slots:
        return Box(space.lower, space.upper, space.start, space.span, space.choices)
    scale = slice(space.slots, space.slots + space.dims - signs)
    bias = np.where(np.arange(signs) % 6 < 2, BIAS, -BIAS)
    off, on = space.choices[np.argmax(space.start < 0)], space.choices[np.argmax(space.start > 0)]
    likely = np.where(bias[:, None] > 0, on, off)
    return Box(
        np.append(np.full(signs, INDICATOR[0]), space.lower[scale]),
        np.append(np.full(signs, INDICATOR[1]), space.upper[scale]),
        np.append(bias, space.start[scale]),
        np.full(space.dims, SPAN),
        np.concatenate([likely, np.zeros((space.dims - signs, 2))]),
    )


def make_dataflow_instance(box: Box, signs: int, seed: int) -> DataflowInstance:
    """A quarter of the indicators must change sign, scales by 0.3; importances are lognormal."""
    rng = np.random.default_rng([signs, seed])
    target = (box.start[:signs] > 0) ^ (rng.uniform(size=signs) < 0.25)
    scales = box.start[signs:] + 0.3 * rng.normal(size=len(box.start) - signs)
    return DataflowInstance(
        jnp.asarray(target),
        jnp.asarray(rng.lognormal(size=signs), jnp.float32),
        jnp.asarray(np.clip(scales, box.lower[signs:], box.upper[signs:]), jnp.float32),
        jnp.asarray(rng.lognormal(size=len(scales)), jnp.float32),
    )


def make_dataflow_gap(box: Box) -> Callable[[Population, Any], Float[Array, " pop"]]:
    """Half the weighted share of wrong signs, half the weighted squared error of the scales."""

    def gap(population: Population, instance: DataflowInstance) -> Float[Array, " pop"]:
        signs = len(instance.signs)
        all_ = jnp.concatenate([population, jnp.asarray(box.start, jnp.float32)[None]])
        wrong = ((all_[:, :signs] > 0) != instance.signs) @ instance.sign_weights
        error = jnp.square(all_[:, signs:] - instance.scales) @ instance.scale_weights
        return 0.5 * wrong[:-1] / wrong[-1] + 0.5 * error[:-1] / error[-1]

    return gap
