"""What a GPU computes before a search, on this machine's device: the same as the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import breadcrumbs, della, sce, task_vectors, ties
from evojax_merge.operators.statistics import on_device, row_ranks, row_ranks_on_device
from evojax_merge.operators.statistics.numbers import variance_of
from tests.slow import slow
from tests.trees import init_statistics

SHAPE = (2, 300, 257)

OPERATORS = {
    "ties": ties(),
    "ties l2": task_vectors(trim="magnitude", consensus="sum", rescale="l2"),
    "breadcrumbs": breadcrumbs(),
    "breadcrumbs l1": breadcrumbs(rescale="l1"),
    "breadcrumbs linf": breadcrumbs(rescale="linf"),
    "sce": sce(),
    "della": della(),
    "della l2": task_vectors(trim="rank", consensus="sum", rescale="l2"),
}
TYPICAL = ("ties", "breadcrumbs l1", "sce", "della")


def draw(dtype):
    rng = np.random.default_rng(0)
    base = 0.02 * rng.standard_normal(SHAPE, dtype=np.float32)
    sources = [base + 0.002 * rng.standard_normal(SHAPE, dtype=np.float32) for _ in range(3)]
    trees = [
        {"layers": {"w": x.astype(dtype)}, "head": x[0].astype(dtype)} for x in (base, *sources)
    ]
    for tree in trees[1:]:  # some elements that no source has moved
        tree["layers"]["w"][:, :20] = trees[0]["layers"]["w"][:, :20]
    return trees[0], tuple(trees[1:])


@pytest.mark.few(1)
@pytest.mark.parametrize("dtype", ["bfloat16", *slow("float32")])
@pytest.mark.parametrize("name", [*TYPICAL, *slow(*(n for n in OPERATORS if n not in TYPICAL))])
def test_statistics_are_those_of_the_host(name, dtype, monkeypatch):
    base, sources = draw(dtype)
    there = []

    def pays(leaves, elements, tensors=1):
        there.append(elements)
        return True

    host = init_statistics(OPERATORS[name], base, sources)
    monkeypatch.setattr(on_device, "pays", pays)
    device = init_statistics(OPERATORS[name], base, sources)
    assert there
    assert jax.tree.structure(device) == jax.tree.structure(host)
    for own, other in zip(jax.tree.leaves(device), jax.tree.leaves(host), strict=True):
        assert own.dtype == other.dtype
        assert own.shape == other.shape
        if "l1" in name or "l2" in name or name in ("sce", "della"):  # sums in another order
            np.testing.assert_allclose(own, other, rtol=3e-7)
        else:
            np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("width", [700, *slow(100, 256, 70_000)])
@pytest.mark.parametrize("kind", ["continuous", "crowded", "levels", "zeros"])
def test_ranks_in_rows_are_those_of_the_host(kind, width, monkeypatch):
    rng = np.random.default_rng(width)
    values = np.abs(rng.standard_normal((5 if width > 1000 else 300, width), dtype=np.float32))
    if kind == "crowded":  # some rows of one bin, which are sorted
        values[::3] = 1 + values[::3] * np.float32(1e-6)
    if kind == "levels":
        values[:150] = rng.integers(0, 40, values[:150].shape).astype(np.float32)
    if kind == "zeros":
        values *= rng.integers(0, 2, values.shape).astype(np.float32)
    monkeypatch.setattr(row_ranks_on_device, "AT_ONCE", 2**17)  # several pieces
    device = row_ranks_on_device.row_ranks(jnp.asarray(values))
    np.testing.assert_array_equal(device, row_ranks.row_ranks(values))


def test_the_variance_has_the_bits_of_the_host():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((3, 100_000), dtype=np.float32)
    vectors[:, :1000] = vectors[0, :1000]
    own = on_device.variance_of([jnp.asarray(vector) for vector in vectors])
    np.testing.assert_array_equal(own, variance_of(list(vectors)))


def test_without_a_gpu_nothing_is_carried_anywhere():
    assert jax.default_backend() == "gpu" or not on_device.pays((), 2**20)


@pytest.mark.slow
def test_strict_promotion_holds(monkeypatch):
    base, sources = draw("bfloat16")
    monkeypatch.setattr(on_device, "pays", lambda leaves, elements, tensors=1: True)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        for operator in (sce(), breadcrumbs(rescale="l1")):
            init_statistics(operator, base, sources)
