"""The problem of M2N2's figure, and its searches on a small budget."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.search.m2n2.methods import BESIDE, FROM_SCRATCH, PRETRAINED, score, told
from experiments.search.m2n2.network import DIMS, load, logits, pretrained, right
from experiments.search.m2n2.searching import search


def test_the_network_and_data_of_the_paper() -> None:
    train, test = load()
    assert (DIMS, len(train.labels), len(test.labels)) == (19_210, 1_437, 360)
    assert float(train.images.max()) == 16
    genotype = np.random.default_rng(0).normal(size=DIMS)
    hidden = np.maximum(
        train.images @ genotype[:16_384].reshape(64, 256) + genotype[16_384:16_640], 0
    )
    wanted = hidden @ genotype[16_640:19_200].reshape(256, 10) + genotype[19_200:]
    np.testing.assert_allclose(
        logits(jnp.asarray(genotype, jnp.float32), train.images), wanted, rtol=1e-2, atol=0.1
    )


def test_each_parent_knows_its_half_of_the_digits() -> None:
    train, _ = load()
    low = np.asarray(train.labels) < 5
    for parent, own in zip(pretrained(), (low, ~low), strict=True):
        known = np.asarray(right(parent, train))
        assert known[own].mean() > 0.8
        assert known[~own].mean() < 0.05


def test_strategies_are_told_what_they_hear() -> None:
    items = score(pretrained())
    assert told(FROM_SCRATCH["GA"](), items) is items
    np.testing.assert_allclose(told(FROM_SCRATCH["CMA-ES"](), items), items.mean(axis=1))
    assert told(BESIDE["novelty, items"](), items) is items
    odd = np.asarray(load()[0].labels) % 2 == 1
    assert told(BESIDE["novelty, odd and even"](), items).shape == (2, 3)
    objectives = told(FROM_SCRATCH["MAP-Elites"](), items)
    np.testing.assert_allclose(objectives[:, 1], items[:, odd].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(objectives[:, 2], items[:, ~odd].mean(axis=1), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 2])
def test_searches_of_several_seeds(at_once: int) -> None:
    strategy = PRETRAINED["M2N2"]().seed(np.asarray(pretrained()))
    keys = jax.random.split(jax.random.key(0), 2)
    curves = search(strategy, keys, records=2, generations=40, at_once=at_once)
    assert curves.shape == (2, 2)
    assert (np.asarray(curves)[:, -1] > 0.47).all()  # a parent has 46 %
