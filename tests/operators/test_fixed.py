"""Statistics for known coefficients, read a piece at a time: what the table of a search gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge import operators
from evojax_merge.operators.statistics import Tensors
from tests.operators.conftest import FACTORIES
from tests.operators.leaf import tensors
from tests.slow import slow

SHAPE = (60, 75)
GAMMA = [0.01, 0.05, 0.2]
DENSITY = [0.3, 1.0, 0.0]

FRACTIONS = {
    "density": DENSITY,
    "gamma": GAMMA,
    "select_topk": 0.3,
    "spread": 1.5,
    "r": 0.1,
    "alpha": 0.2,
    "weight": [0.3, 0.5, 0.9],
}

FIXED = {
    "ramplus": operators.ramplus(0.05),
    "sce": operators.sce(),
    "arcee_fusion": operators.arcee_fusion(),
    **{
        f"{trim} {rescale}": operators.task_vectors(trim, consensus="sum", rescale=rescale)
        for trim in ("magnitude", "outliers")
        for rescale in (None, "l1", "l2", "linf", "inverse")
    },
}

TYPICAL = ("ramplus", "sce", "arcee_fusion", "magnitude None", "magnitude l2", "outliers l1")


def coefficients_of(operator):
    return {c.name: FRACTIONS[c.name] for c in operator.coefficients}


def merge_in_pieces(operator, base, sources, coefficients, step):
    """As `evojax_merge.exchange` merges a tensor: flat, some elements at a time."""
    origin, ends = base.ravel(), tuple(source.ravel() for source in sources)
    at = operator.init_fixed(Tensors(origin, ends, base.shape), coefficients)
    numbers = {name: jnp.asarray(value, jnp.float32) for name, value in coefficients.items()}
    merged = []
    for first in range(0, origin.size, step):
        part = slice(first, first + step)
        some = tuple(end[part] for end in ends)
        found = at(first, origin[part].size)
        merged.append(jax.jit(operator.merge)(origin[part], some, numbers, found, jnp.uint32(0)))
    return np.concatenate(merged).reshape(base.shape)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("bfloat16", SHAPE),
        ("float32", (7,)),
        pytest.param("float32", SHAPE, marks=pytest.mark.slow),
        pytest.param("float32", (), marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "name", [*TYPICAL, *slow(*(name for name in FIXED if name not in TYPICAL))]
)
def test_a_merge_in_pieces_is_that_of_the_table(name, dtype, shape):
    operator = FIXED[name]
    base, sources = tensors(operator.sources[1] or 3, shape)
    base, *sources = (np.asarray(x).astype(dtype) for x in (base, *sources))
    coefficients = coefficients_of(operator)
    numbers = {name: jnp.asarray(value, jnp.float32) for name, value in coefficients.items()}
    statistics = operator.init(base, tuple(sources), False)
    expected = jax.jit(operator.merge)(base, tuple(sources), numbers, statistics, jnp.uint32(0))
    found = merge_in_pieces(operator, base, sources, coefficients, 1000)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("density", [0.33333, 0.0001, 0.91234])
def test_a_density_between_those_of_the_grid_keeps_exactly_as_many(density, dtype):
    base, (source,) = tensors(1, SHAPE)
    base, source = base.astype(dtype), source.astype(dtype)
    coefficients = {"weight": [1.0], "density": [density]}
    merged = merge_in_pieces(operators.ties(), base, (source,), coefficients, 999)
    moved = np.count_nonzero(merged != base.astype(np.float32))
    assert moved == max(1, int(density * base.size))


def test_operators_that_select_by_known_fractions_say_so_themselves():
    """Any other is merged from a file by the statistics that a search has too."""
    own = {factory.__name__ for factory in FACTORIES if factory().init_fixed is not None}
    assert own == {"ties", "breadcrumbs", "breadcrumbs_ties", "sce", "ramplus", "arcee_fusion"}
