import numpy as np
import pytest
from scipy.stats import rankdata

from evojax_merge.operators.statistics.row_ranks import CROWDED, STEPS, row_ranks
from tests.slow import slow

WIDTHS = [2, 256, 2048, *slow(7, 255, 768, 70_000)]


def exact(magnitude):
    """The mean rank of equals, from 0 to 255, not rounded."""
    ranks = rankdata(magnitude, axis=1) - 1
    return ranks * STEPS / (magnitude.shape[1] - 1)


def vectors(kind, width, rows=5):
    rng = np.random.default_rng(width)
    values = np.abs(rng.standard_normal((rows, width), dtype=np.float32))
    values *= np.float32(10.0) ** rng.integers(-6, 6, (rows, 1)).astype(np.float32)
    if kind == "heavy tails":
        return values**3
    if kind == "outlier":
        values[:, 0] *= 1e20
    if kind == "tiny mixed with zeros":
        values *= rng.integers(0, 2, values.shape) * np.float32(10.0) ** -rng.integers(
            0, 20, values.shape
        ).astype(np.float32)
    if kind == "levels":
        return rng.integers(0, 40, values.shape).astype(np.float32) * np.float32(0.1234567)
    if kind == "bfloat16":
        base = 0.02 * rng.standard_normal(values.shape, dtype=np.float32)
        ends = [x.astype("bfloat16").astype(np.float32) for x in (base, base + values)]
        return np.abs(ends[1] - ends[0])
    return values


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "kind",
    ["continuous", "heavy tails", "outlier", "tiny mixed with zeros", "levels", "bfloat16"],
)
def test_ranks_are_within_two_steps(kind, width):
    values = vectors(kind, width)
    error = np.abs(row_ranks(values) - exact(values))
    most = 0.5 + STEPS * max(CROWDED, 1 / width) / 2
    # A lone number may share its bin with many that are equal: there are few of these.
    share = 0.0 if kind != "bfloat16" else 0.02
    assert np.mean(error > most + 1e-9) <= share
    assert error.mean() < 0.6


@pytest.mark.parametrize("repeats", [10, 100], ids=["sorted", "counted"])
def test_equal_numbers_share_their_mean_rank_however_they_are_found(repeats):
    values = np.repeat(np.array([0.0, 0.1, 0.3, 2.0], np.float32), repeats)
    values = np.random.default_rng(0).permuted(np.tile(values, (3, 1)), axis=1)
    np.testing.assert_array_equal(row_ranks(values), np.rint(exact(values)))
    assert (row_ranks(np.zeros((2, 600), np.float32)) == 128).all()
    assert (row_ranks(np.ones((4, 1), np.float32)) == 128).all()
