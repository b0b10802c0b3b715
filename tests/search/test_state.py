"""The archive of a search."""

import jax.numpy as jnp
import numpy as np

from evojax_merge.search.state import init_archive, update_archive


def test_it_keeps_the_best_and_each_genotype_once():
    archive = init_archive(3, 1)
    first = jnp.array([[0.0], [1.0], [2.0], [1.0]])
    archive = update_archive(archive, first, jnp.array([0.1, 0.5, jnp.nan, 0.5]))
    np.testing.assert_array_equal(archive.fitness, np.float32([0.5, 0.1, -np.inf]))
    second = jnp.array([[1.0], [3.0], [4.0], [5.0]])
    archive = update_archive(archive, second, jnp.array([0.5, 0.5, 0.9, jnp.inf]))
    np.testing.assert_array_equal(archive.genotypes[:, 0], [4.0, 1.0, 3.0])
    np.testing.assert_array_equal(archive.fitness, np.float32([0.9, 0.5, 0.5]))
