"""Merges of small trees, for tests."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.operators import Operator
from evojax_merge.params.tree import flatten
from tests.trees import init_statistics, merge


def random_coefficients(operator, params, sources, seed=0):
    """Different for every source, leaf and layer."""
    rng = np.random.default_rng(seed)
    coefficients = {}
    for path, leaf in flatten(params).items():
        layers = leaf.shape[:1] if path.startswith("layers.") else ()
        coefficients[path] = {
            c.name: jnp.asarray(
                rng.uniform(0.2, 0.9, ((sources,) if c.per_source else ()) + layers), jnp.float32
            )
            for c in operator.coefficients
        }
    return coefficients


@functools.cache
def _compiled(operator: Operator):
    return jax.jit(lambda *arguments: merge(operator, *arguments))


def merge_once(operator, base, sources, coefficients, seed=0):
    """Statistics and merge, compiled as in a search; once for an operator and shapes."""
    statistics = init_statistics(operator, base, sources)
    return _compiled(operator)(base, sources, coefficients, statistics, jnp.uint32(seed))


def assert_close(actual, expected, tolerance=1e-6):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            np.asarray(a, np.float32), np.asarray(b, np.float32), rtol=0, atol=tolerance
        ),
        actual,
        expected,
    )


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
