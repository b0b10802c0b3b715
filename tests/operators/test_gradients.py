"""A search by gradient meets any tensors and any coefficients: nothing but finite slopes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge import operators
from evojax_merge.operators.steps.random_mask import leaf_key
from tests.operators.conftest import FACTORIES, marked
from tests.slow import slow

SHAPE = (8, 10)


def parallel(factor, scale=1.0):
    """A base, and fine-tunes along one direction."""

    def make(count, rng):
        base, direction = scale * rng.standard_normal((2, *SHAPE))
        return base, [base + factor**index * direction for index in range(count)]

    return make


def scaled(scale, changes=0.1):
    def make(count, rng):
        base, *noise = rng.standard_normal((count + 1, *SHAPE))
        return scale * base, [scale * (base + changes * one) for one in noise]

    return make


def constant(count, rng):
    return np.full(SHAPE, 0.5), [np.full(SHAPE, 0.5 + index) for index in range(count)]


def equal(count, rng):
    base, source = rng.standard_normal((2, *SHAPE))
    return base, [source] * count


def opposite_sources(count, rng):
    base, source = rng.standard_normal((2, *SHAPE))
    return base, [(-1.0) ** index * source for index in range(count)]


def one_zero(count, rng):
    base, *sources = rng.standard_normal((count + 1, *SHAPE))
    return base, [np.zeros(SHAPE), *sources][:count]


TENSORS = {
    "ordinary": scaled(1.0),
    "all zero": lambda count, rng: (np.zeros(SHAPE), [np.zeros(SHAPE)] * count),
    "sources of zeros": lambda count, rng: (rng.standard_normal(SHAPE), [np.zeros(SHAPE)] * count),
    "one source of zeros": one_zero,
    "base of zeros": lambda count, rng: (
        np.zeros(SHAPE),
        list(rng.standard_normal((count, *SHAPE))),
    ),
    "no change": scaled(1.0, 0.0),
    "equal": equal,
    "constant": constant,
    "parallel changes": parallel(2.0),
    "opposite changes": parallel(-1.0),
    "opposite sources": opposite_sources,
    "huge": scaled(1e18),
    "huge, no change": scaled(1e18, 0.0),
    "huge, opposite": parallel(-1.0, 1e18),
    "tiny": scaled(1e-18),
    "tiniest": scaled(1e-38),
}

WITH_DATA = [
    functools.partial(operators.fisher, "items.jsonl"),
    functools.partial(operators.regmean, "items.jsonl"),
]
SETTINGS = [
    functools.partial(operators.ties, rescale="l2"),
    functools.partial(operators.nuslerp, "rows", True),
    functools.partial(operators.multislerp, False, True),
    *slow(
        functools.partial(operators.ties, rescale="l1"),
        functools.partial(operators.breadcrumbs, True, "linf"),
        functools.partial(operators.dare_linear, True, "l2"),
        functools.partial(operators.della, rescale="inverse"),
        functools.partial(operators.task_vectors, "magnitude", "count", rescale="inverse"),
        functools.partial(operators.linear, normalize=False),
        functools.partial(operators.nuslerp, "columns"),
        functools.partial(operators.model_stock, True),
        functools.partial(operators.knots, "none"),
    ),
    lambda: operators.choice({"ties": operators.ties(), "linear": operators.linear()}),
]


def evidence(operator, count):
    """Of each source, where the operator asks for it."""
    if operator.evidence is None:
        return ()
    rng = np.random.default_rng(1)
    made = {
        "fisher": lambda: rng.standard_normal(SHAPE).astype(np.float32) ** 2,
        "gram": lambda: np.cov(rng.standard_normal((SHAPE[1], 64))).astype(np.float32),
    }[operator.evidence.kind]
    return (tuple(made() for _ in range(count)),)


def values(operator, count):
    """Coefficients at the edges of their domains and bounds, inside, and all different."""

    def of(pick):
        return {
            c.name: jnp.asarray(
                [np.clip(pick(c, i), *c.domain) for i in range(count)]
                if c.per_source
                else np.clip(pick(c, 1), *c.domain),
                jnp.float32,
            )
            for c in operator.coefficients
        }

    yield of(lambda c, i: c.default)
    yield of(lambda c, i: c.lower)
    yield of(lambda c, i: c.upper)
    yield of(lambda c, i: 0.0)
    yield of(lambda c, i: -1.0)
    yield of(lambda c, i: (-1.0) ** i)
    yield of(lambda c, i: c.lower + (c.upper - c.lower) * (0.2 + 0.3 * i))
    yield of(lambda c, i: float(i == 1))
    yield of(lambda c, i: 1e-20 * (1 + i))
    yield of(lambda c, i: 1e-38 * (1 + i))


def name(factory):
    return getattr(factory, "__name__", "") or str(getattr(factory, "args", factory))


@pytest.mark.few(5)
@pytest.mark.parametrize("factory", [*marked(FACTORIES), *WITH_DATA, *SETTINGS])
def test_gradients_are_finite(factory):
    operator = factory()
    count = operator.sources[1] or 3
    direction = jnp.asarray(np.random.default_rng(2).choice([-1.0, 1.0], SHAPE), jnp.float32)

    @jax.jit
    @jax.value_and_grad
    def total(coefficients, base, sources, statistics):
        merged = operator.merge(base, sources, coefficients, statistics, leaf_key(0, "w"))
        return jnp.sum(direction * merged)

    for kind, make in TENSORS.items():
        base, sources = make(count, np.random.default_rng(0))
        base = np.asarray(base, np.float32)
        sources = tuple(np.asarray(source, np.float32) for source in sources)
        statistics = operator.init(base, sources, False, *evidence(operator, count))
        for coefficients in values(operator, count):
            value, slopes = total(coefficients, base, sources, statistics)
            for coefficient, slope in slopes.items():
                where = f"{operator.name}, {kind}: {coefficient} at {coefficients}"
                assert np.isfinite(value), where
                assert np.isfinite(slope).all(), where
