"""Cuts found a piece at a time: those of an ordered whole."""

import numpy as np
import pytest

from evojax_merge.exchange import selection
from evojax_merge.exchange.selection import cuts, standings
from evojax_merge.operators.order_statistics import rank

SIZE = 3000


def magnitudes(kind):
    rng = np.random.default_rng(0)
    values = np.abs(rng.standard_normal(SIZE)).astype(np.float32)
    if kind == "repeated":
        values = np.round(values * 3)
    if kind in ("equal", "zero"):
        values = np.full_like(values, float(kind == "equal"))
    return values


@pytest.mark.parametrize("few", [10, 200, SIZE], ids="few-{}".format)
@pytest.mark.parametrize("kind", ["continuous", "repeated", "equal", "zero"])
def test_a_cut_holds_the_greatest(monkeypatch, kind, few):
    monkeypatch.setattr(selection, "FEW", few)
    tensors = magnitudes(kind), magnitudes("continuous")
    counts = [[0, 1, 700, SIZE - 1, SIZE], [1500]]

    def pieces():
        for first in range(0, SIZE, 999):
            yield first, [tensor[first : first + 999] for tensor in tensors]

    ranks = rank(np.arange(SIZE, dtype=np.uint32))
    for tensor, own, found in zip(tensors, counts, cuts(pieces, counts), strict=True):
        order = np.lexsort((ranks, -tensor))
        for count, cut in zip(own, found, strict=True):
            held = np.asarray(cut.holds(tensor, ranks))
            np.testing.assert_array_equal(np.flatnonzero(held), np.sort(order[:count]))


@pytest.mark.parametrize("width", [1, 2, 7, 300, 1000])
def test_standings_run_over_a_row(width):
    magnitude = np.round(np.abs(np.random.default_rng(0).standard_normal((4, width))), 1)
    magnitude = magnitude.astype(np.float32)
    found = standings(magnitude)
    if width == 1:
        np.testing.assert_array_equal(found, 128)
        return
    order = np.argsort(magnitude, axis=1, kind="stable")
    expected = np.rint(np.linspace(0, 255, width))
    for row, own in zip(found, order, strict=True):
        np.testing.assert_allclose(row[own], expected, atol=1)
        assert row[own[0]] == 0
        assert row[own[-1]] == 255
        assert (np.diff(row[own].astype(int)) >= 0).all()
