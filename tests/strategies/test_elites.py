"""The archive of elites: cells, what enters, what is refused."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.strategies.elites import (
    DescriptorRangeWarning,
    check_memory,
    empty_elites,
    make_descriptors,
)


@pytest.mark.parametrize(
    ("score", "index"), [(0.0, 0), (0.09, 0), (0.11, 1), (0.95, 9), (1.0, 9), (-3.0, 0), (7.0, 9)]
)
def test_the_bin_of_a_score(score: float, index: int) -> None:
    assert int(make_descriptors(["a"], 10, [0.0, 1.0]).indices(jnp.float32([score]))[0]) == index


def test_each_cell_is_that_of_its_bins() -> None:
    descriptors = make_descriptors(["a", "b", "c"], [2, 3, 4], [[0, 2], [-1, 2], [0, 4]])
    assert descriptors.cells == 24
    indices = descriptors.all_indices()
    for cell, (a, b, c) in enumerate(itertools.product(range(2), range(3), range(4))):
        np.testing.assert_array_equal(indices[cell], [a, b, c])
        assert int(descriptors.cell(jnp.float32([a + 0.5, b - 0.5, c + 0.5]))) == cell


def test_keeps_the_best_of_each_cell() -> None:
    grid = empty_elites(3, 2, 1)
    assert not np.asarray(grid.occupied).any()
    offers = [(1, 0.5, 1.0), (1, 0.4, 2.0), (1, 0.5, 3.0), (1, 0.6, 4.0), (2, -9.0, 5.0)]
    for cell, quality, gene in offers:
        grid = grid.add(
            jnp.int32(cell), jnp.full(2, gene), jnp.float32([quality]), jnp.float32(quality)
        )
    np.testing.assert_array_equal(grid.occupied, [False, True, True])
    np.testing.assert_array_equal(grid.genotypes[:, 0], [0, 4, 5])
    np.testing.assert_allclose(grid.objectives[1:, 0], [0.6, -9])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_makes_no_elite(bad: float) -> None:
    grid = empty_elites(3, 2, 2)
    for objectives, quality in (([0.5, bad], 0.5), ([0.5, 0.5], bad)):
        same = grid.add(jnp.int32(0), jnp.ones(2), jnp.float32(objectives), jnp.float32(quality))
        for one, other in zip(jax.tree.leaves(same), jax.tree.leaves(grid), strict=True):
            np.testing.assert_array_equal(one, other)


def test_says_which_scores_are_outside_their_range() -> None:
    descriptors = make_descriptors(["math", "size"], 5, [[0, 1], [2, 4]])
    with pytest.warns(DescriptorRangeWarning, match=r"size scored 9, outside .* \[2, 4\]"):
        descriptors.warn_outside(["math", "size"], np.array([[0.5, 3], [1, 9], [0, 2]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        descriptors.warn_outside(["math", "size"], np.array([[1.0, 2], [np.nan, 4]]))


@pytest.mark.parametrize(
    ("names", "bins", "ranges", "message"),
    [
        ([], 5, [0, 1], "descriptors is empty"),
        (["a", "b"], [5], [0, 1], "bins has 1 entries for 2 descriptors"),
        (["a", "b"], 5, [[0, 1]], "ranges has 1 entries for 2 descriptors"),
        (["a"], 0, [0, 1], "bins must be a whole number of at least 1, not 0"),
        (["a"], 5, [1, 0], r"ranges of a is .*give \[low, high\]"),
        (["a"], 5, [0.5, 0.5], "ranges of a is"),
        (["a", "b"], 5, [[0, 1], [0, float("nan")]], "ranges of b is"),
        (["a"], 5, [["x", "y"]], "ranges of a is"),
    ],
)
def test_refuses_descriptors_that_mean_nothing(
    names: list[str], bins: object, ranges: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_descriptors(names, bins, ranges)


def test_refuses_archives_that_take_too_much_memory() -> None:
    check_memory(100, 19_210)
    with pytest.raises(ValueError, match=r"10000 cells with 1000000 genes each takes 40\.0 GB"):
        check_memory(10_000, 1_000_000)
