"""Exactly int(density x n) elements are kept, up to tensors of a hundred million."""

import functools

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from evojax_merge.operators.breadcrumbs import band_table
from evojax_merge.operators.ties import trim_table

LARGE = pytest.param(10**8, marks=pytest.mark.slow)
DENSITIES = (0.001, 0.333, 0.5, 0.999)


@functools.lru_cache(1)
def task_vector(size, repeated):
    """Ordinary changes; those of bfloat16 checkpoints repeat many magnitudes."""
    values = 0.01 * np.random.default_rng(size).standard_normal(size, np.float32)
    return values.astype(ml_dtypes.bfloat16).astype(np.float32) if repeated else values


@pytest.mark.parametrize("size", [3_000_001, LARGE])
@pytest.mark.parametrize("repeated", [False, True])
def test_the_largest_are_kept(size, repeated):
    vector = task_vector(size, repeated)
    table = trim_table(np.zeros_like(vector), vector, False)
    magnitude = np.abs(vector)
    for density in DENSITIES:
        mask = np.asarray(table.at(jnp.float32(density)).keeps(jnp.asarray(vector)))
        assert np.count_nonzero(mask) == int(density * size)
        assert magnitude[mask].min() >= magnitude[~mask].max()


@pytest.mark.parametrize("size", [3_000_001, LARGE])
@pytest.mark.parametrize("repeated", [False, True])
def test_the_largest_but_for_outliers_are_kept(size, repeated):
    vector = task_vector(size, repeated)
    table = band_table(np.zeros_like(vector), vector, False)
    magnitude = np.abs(vector)
    for density in DENSITIES[:3]:
        cut = table.at(jnp.float32(0.01), jnp.float32(density))
        mask = np.asarray(cut.keeps(jnp.asarray(vector)))
        assert np.count_nonzero(mask) == int(density * size)
        dropped = ~mask & (magnitude >= magnitude[mask].max())
        assert np.count_nonzero(dropped) >= int(0.01 * size)
