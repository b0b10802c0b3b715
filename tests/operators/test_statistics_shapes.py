"""Shapes of statistics that were told from tiny leaves are those of the statistics themselves."""

import jax
import numpy as np
import pytest

from evojax_merge import operators
from evojax_merge.operators.statistics_shapes import shapes_of
from evojax_merge.params.low_rank import Adapted, LowRank, Unchanged

NAMES = [
    *("linear", "ties", "dare_ties", "della", "breadcrumbs", "sce", "iso_c", "tsv_merge", "knots"),
    *("iso_cts", "wudi", "svc", "adarank", "larv"),
    *("slerp", "karcher", "nuslerp", "multislerp", "model_stock", "geometric_median", "ram"),
    *("consensus_ta", "tall_mask", "magmax", "sign_only", "nearswap", "arcee_fusion"),
]
LEAVES = [
    ((3, 40, 24), True),
    ((2, 9, 50), True),
    ((3, 17), True),
    ((9,), False),
    ((8, 6, 3, 3), False),
]


def described(tree):
    return jax.tree.map(lambda leaf: (np.shape(leaf), str(np.asarray(leaf).dtype)), tree)


def told(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)


def sources_of(operator):
    least, most = operator.sources
    return max(least, 3 if most is None else min(3, most))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_those_of_the_statistics(name):
    operator = getattr(operators, name)()
    count, draw = sources_of(operator), np.random.default_rng(0)
    for shape, layered in LEAVES:
        leaves = [draw.standard_normal(shape).astype(np.float32) for _ in range(count + 1)]
        real = operator.init(leaves[0], tuple(leaves[1:]), layered)
        leaf = jax.ShapeDtypeStruct(shape, np.float32)
        found = shapes_of(operator, leaf, (leaf,) * count, layered)
        assert told(found) == described(real), (shape, layered)


@pytest.mark.parametrize("name", ["ties", "della", "tsv_merge"])
def test_sources_that_are_adapters(name):
    operator, draw = getattr(operators, name)(), np.random.default_rng(0)
    shape, rank = (3, 40, 24), 4

    def numbers(*sides):
        return draw.standard_normal(sides).astype(np.float32)

    base, other = numbers(*shape), numbers(*shape)
    own = LowRank(numbers(3, 40, rank), numbers(3, rank, 24), numbers(3))
    same = Unchanged(shape, np.dtype(np.float32))
    real = operator.init(base, (Adapted(base, own), Adapted(base, same), other), True)
    leaf = jax.ShapeDtypeStruct(shape, np.float32)
    factors = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), own)
    sources = (Adapted(leaf, factors), Adapted(leaf, same), leaf)
    assert told(shapes_of(operator, leaf, sources, True)) == described(real)


@pytest.mark.parametrize("name", ["fisher", "regmean"])
def test_operators_that_ask_for_evidence(name):
    operator, draw = getattr(operators, name)(data="items.jsonl"), np.random.default_rng(0)
    shape = (2, 12, 12)  # in which the evidence of regmean has the shape of the leaf
    leaves = [draw.standard_normal(shape).astype(np.float32) for _ in range(2)]
    evidence = tuple(np.abs(leaf) for leaf in leaves)
    real = operator.init(None, tuple(leaves), True, evidence)
    leaf = jax.ShapeDtypeStruct(shape, np.float32)
    assert told(shapes_of(operator, None, (leaf, leaf), True, (leaf, leaf))) == described(real)


def test_a_size_that_no_rule_fits_is_an_error():
    odd = operators.linear()._replace(
        init=lambda base, sources, layered: np.zeros(sum(sources[0].shape) + 3)
    )
    leaf = jax.ShapeDtypeStruct((6, 4), np.float32)
    with pytest.raises(ValueError, match="cannot be told from shapes alone"):
        shapes_of(odd, None, (leaf, leaf), False)
