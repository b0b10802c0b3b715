"""Iso-CTS against the paper's algorithm."""

import numpy as np
import pytest

from evojax_merge.operators import iso_c, iso_cts
from tests.operators import subspace_reference as reference
from tests.operators.leaf import merge_leaf, tensors


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
@pytest.mark.parametrize(("count", "share"), [(1, 0.8), (3, 0.8), (3, 0.3)])
def test_the_paper(shape, count, share):
    base, sources = tensors(count, shape)
    merged = merge_leaf(iso_cts(share), base, sources, scale=1.3)
    expected = reference.iso_cts(base, sources, 1.3, share)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=2e-6)


def test_all_common_is_iso_c():
    base, sources = tensors(3, (9, 14))
    merged = merge_leaf(iso_cts(1.0), base, sources, scale=1.0)
    expected = merge_leaf(iso_c(), base, sources, scale=1.0)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("common", [-0.1, 1.5, "all", float("nan")])
def test_a_share_that_is_none_is_refused(common):
    with pytest.raises(ValueError, match="iso_cts: common"):
        iso_cts(common)
