"""Cuts found a piece at a time: those of an ordered whole."""

import numpy as np
import pytest

from evojax_merge.operators.statistics import on_file
from evojax_merge.operators.statistics.on_file import cuts_of
from evojax_merge.operators.steps.cuts import rank

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
    monkeypatch.setattr(on_file, "FEW", few)
    tensors = magnitudes(kind), magnitudes("continuous")
    counts = [[0, 1, 700, SIZE - 1, SIZE], [1500]]

    def pieces():
        for first in range(0, SIZE, 999):
            yield first, [tensor[first : first + 999] for tensor in tensors]

    ranks = rank(np.arange(SIZE, dtype=np.uint32))
    for tensor, own, found in zip(tensors, counts, cuts_of(pieces, counts), strict=True):
        order = np.lexsort((ranks, -tensor))
        for count, cut in zip(own, found, strict=True):
            held = np.asarray(cut.holds(tensor, ranks))
            np.testing.assert_array_equal(np.flatnonzero(held), np.sort(order[:count]))
