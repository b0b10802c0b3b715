"""Iso-C against the paper's formulas."""

import numpy as np
import pytest

from evojax_merge.operators import iso_c
from tests.operators import subspace_reference as reference
from tests.operators.leaf import merge_leaf, tensors


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 1.7])
def test_the_paper(shape, count, scale):
    base, sources = tensors(count, shape)
    merged = merge_leaf(iso_c(), base, sources, scale=scale)
    np.testing.assert_allclose(merged, reference.iso_c(base, sources, scale), rtol=0, atol=2e-6)


def test_all_singular_values_are_equal():
    base, sources = tensors(3, (9, 14))
    merged = np.asarray(merge_leaf(iso_c(), base, sources, scale=1.0), np.float64)
    spectrum = np.linalg.svd(merged - base, compute_uv=False)
    np.testing.assert_allclose(spectrum, spectrum.mean(), rtol=1e-5)


def test_directions_that_no_source_has_stay_zero():
    base, _ = tensors(0, (9, 14))
    rng = np.random.default_rng(1)
    low = (rng.standard_normal((9, 2)) @ rng.standard_normal((2, 14))).astype(np.float32)
    merged = np.asarray(merge_leaf(iso_c(), base, (base + 0.1 * low,), scale=1.0), np.float64)
    ours = np.linalg.svd(merged - base, compute_uv=False)
    theirs = np.linalg.svd(0.1 * low, compute_uv=False)
    np.testing.assert_allclose(ours[:2], theirs.sum() / 9, rtol=1e-4)


def test_other_tensors_are_averaged():
    base, sources = tensors(3, (7,))
    merged = merge_leaf(iso_c(), base, sources, scale=1.0)
    np.testing.assert_allclose(merged, np.mean(sources, axis=0), rtol=0, atol=1e-6)
