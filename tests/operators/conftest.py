import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge import operators

FACTORIES = [
    operators.adarank,
    operators.arcee_fusion,
    operators.breadcrumbs,
    operators.breadcrumbs_ties,
    operators.consensus_ta,
    operators.dare_linear,
    operators.dare_ties,
    operators.della,
    operators.della_linear,
    operators.geometric_median,
    operators.iso_c,
    operators.iso_cts,
    operators.karcher,
    operators.knots,
    operators.larv,
    operators.linear,
    operators.magmax,
    operators.magmin,
    operators.model_stock,
    operators.multislerp,
    operators.nearswap,
    operators.nuslerp,
    operators.passthrough,
    operators.ram,
    operators.ramplus,
    operators.sce,
    operators.sign_only,
    operators.slerp,
    operators.svc,
    operators.tall_mask,
    operators.task_arithmetic,
    operators.task_vectors,
    operators.ties,
    operators.tsv_merge,
    operators.wudi,
]


@functools.cache
def made(factory):
    """The operator as its factory makes it: one for all tests, so that it is compiled once."""
    return factory()


KIN = [
    operators.breadcrumbs_ties,
    operators.dare_linear,
    operators.della_linear,
    operators.magmin,
    operators.ramplus,
    operators.tall_mask,
    operators.task_vectors,
]
"""Other settings of what the fast suite tests under another name."""


TYPICAL = [
    operators.consensus_ta,
    operators.dare_ties,
    operators.della,
    operators.karcher,
    operators.linear,
    operators.model_stock,
    operators.nearswap,
    operators.sce,
    operators.slerp,
    operators.ties,
    operators.tsv_merge,
    operators.wudi,
]
"""One of each way to merge, for what is compiled anew for every operator and costs seconds."""


def marked(factories, fast=None):
    """For parametrize; `KIN`, and what is not among ``fast``, are for `make test-slow`."""
    return [
        pytest.param(f, marks=[pytest.mark.slow] if is_slow else [], id=f.__name__)
        for f in factories
        for is_slow in [f in KIN or (fast is not None and f not in fast)]
    ]


@pytest.fixture(params=marked(FACTORIES))
def operator(request):
    return made(request.param)


@pytest.fixture(params=marked(FACTORIES, TYPICAL))
def typical(request):
    """Every operator; the fast suite has one of each way to merge."""
    return made(request.param)


@pytest.fixture
def model():
    """Makes a tree with two stacked leaves and two plain ones."""

    def make(seed: int, scale: float = 1.0, dtype=jnp.float32):
        rng = np.random.default_rng(seed)
        tree = {
            "embed_tokens": {"weight": (11, 6)},
            "layers": {
                "norm": {"weight": (3, 6)},
                "up_proj": {"weight": (3, 40, 48)},  # wide enough for vector instructions
            },
            "norm": {"weight": (6,)},
        }
        return jax.tree.map(
            lambda shape: jnp.asarray(scale * rng.standard_normal(shape), dtype),
            tree,
            is_leaf=lambda leaf: isinstance(leaf, tuple),
        )

    return make


@pytest.fixture
def models(model):
    """Makes a base and as many fine-tunes of it as an operator merges, three if it may choose."""

    def make(operator, dtype=jnp.float32):
        base = model(0, dtype=dtype)
        sources = tuple(
            jax.tree.map(
                lambda a, b: (a.astype(jnp.float32) + b).astype(dtype), base, model(1 + i, 0.1)
            )
            for i in range(operator.sources[1] or 3)
        )
        return base, sources

    return make
