"""Functions whose optimum is known, as gaps: 1 at the start of a search, 0 at the optimum.

BBOB (Hansen et al., 2009, https://inria.hal.science/inria-00362633) as evosax has it, and a
synthetic data-flow genotype.
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


class DataflowInstance(NamedTuple):
    """What the signs and the scales of a genotype should be, and how much each matters."""

    signs: Array
    sign_weights: Array
    scales: Array
    scale_weights: Array


class Box(NamedTuple):
    """What a strategy is given of a space."""

    lower: np.ndarray
    upper: np.ndarray
    start: np.ndarray
    span: np.ndarray


def dataflow_box(signs: int) -> Box:
    """4,288 genes, of which the first are indicators: 192 as the paper's two models of 32 layers
    have them, otherwise as if a path had more slots and fewer scales."""
    space = DataflowSpace(("a", "b"), (32, 32), repeats=3, scaling="matrix")
    if signs == space.slots:
        return Box(space.lower, space.upper, space.start, space.span)
    scale = slice(space.slots, space.slots + space.dims - signs)
    bias = np.where(np.arange(signs) % 6 < 2, BIAS, -BIAS)
    return Box(
        np.append(np.full(signs, INDICATOR[0]), space.lower[scale]),
        np.append(np.full(signs, INDICATOR[1]), space.upper[scale]),
        np.append(bias, space.start[scale]),
        np.full(space.dims, SPAN),
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
