"""Layers in buffers of their own answer and score as the same layers do where they are scanned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.models.decoder import cache
from evojax_merge.models.decoder.inference.generation import make_generate
from evojax_merge.models.decoder.inference.scoring import make_loglikelihood
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.models.decoder.params import is_unrolled, layout
from tests.models.decoder.inference.test_generation import stacked
from tests.models.decoder.test_modeling import FEW_CONFIGS, make

PAD, NEW, LENGTH = 0, 9, 7
EOS = tuple(range(5, 64, 6))
WAYS = {
    "together": {},
    "in turn": {"slots": 2},
    "beams": {"beams": 2},
    "with a prefix": {"prefix": 2},
}


@pytest.fixture(scope="module", autouse=True)
def highest_precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(autouse=True)
def scanned(monkeypatch):
    """Stacked layers are scanned, however few there are."""
    monkeypatch.setattr(cache, "WRITTEN_OUT", 0)


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(3)
    start = np.array([0, 2, 4, 1, 0], np.int32)
    tokens = rng.integers(3, 64, (5, LENGTH)).astype(np.int32)
    for row, first in enumerate(start):
        tokens[row, first : first + 2] = (7, 8)
    return tokens, start


def both_forms(name, size):
    """A population in each form: its parameters, and where the axis of the population stands."""
    made = [make(name, seed) for seed in range(size)]
    config, models = made[0][0], [params for _, params in made]
    found = layout(config)
    one_by_one = [found.unroll(params) for params in models]
    axes = found.unrolled_axes()
    unrolled = jax.tree.map(lambda axis, *leaves: jnp.stack(leaves, axis), axes, *one_by_one)
    assert is_unrolled(unrolled)
    return config, (stacked(*models), found.population_axes()), (unrolled, axes)


@pytest.mark.few(1)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", FEW_CONFIGS)
def test_answers(name, size, way, prompts):
    config, *forms = both_forms(name, size)
    answers = [
        jax.jit(
            make_generate(config, axes, max_new_tokens=NEW, eos_ids=EOS, pad_id=PAD, **WAYS[way])
        )(params, *prompts)
        for params, axes in forms
    ]
    assert len(np.unique(answers[0])) > 3
    np.testing.assert_array_equal(*answers)


@pytest.mark.few(1)
@pytest.mark.parametrize("name", FEW_CONFIGS)
def test_scores(name, prompts):
    tokens, start = prompts
    config, *forms = both_forms(name, 2)
    target = np.arange(LENGTH) > start[:, None]
    scores = [
        jax.jit(make_loglikelihood(config, axes))(params, tokens, start, target)
        for params, axes in forms
    ]
    np.testing.assert_allclose(*scores, rtol=1e-6)


def test_a_decode_step_slices_no_weight(prompts):
    """What a step reads of a layer is a parameter as it stands, and no part of a stacked one."""
    config, (params, _), _ = both_forms(FEW_CONFIGS[0], 1)
    alone = jax.tree.map(
        lambda leaf, axis: leaf.squeeze(axis), params, layout(config).population_axes()
    )
    tokens, start = prompts

    def slices(params):
        program = jax.make_jaxpr(lambda params: forward(config, params, tokens, start)[0])(params)
        weights = {leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim > 1}
        return [
            equation.primitive.name
            for equation in program.eqns
            if equation.primitive.name in ("scan", "slice", "dynamic_slice", "squeeze")
            and any(getattr(v.aval, "shape", None) in weights for v in equation.invars)
        ]

    assert "scan" in slices(alone)
    assert not slices(layout(config).unroll(alone))
