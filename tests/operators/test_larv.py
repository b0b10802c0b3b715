"""LARV against the paper's scores, and against the merger beneath with scaled task vectors."""

import numpy as np
import pytest

from evojax_merge.operators import larv, task_arithmetic, task_vectors
from tests.operators import reference as task_vector_reference
from tests.operators import subspace_reference as reference
from tests.operators.leaf import merge_leaf, tensors

WEIGHTS = [0.7, 0.2, 1.0]


def uneven(count, shape, seed=0):
    """Fine-tunes whose task vectors have other ranks from layer to layer."""
    base, sources = tensors(count, shape, seed)
    rng = np.random.default_rng(seed)
    for source in sources:
        for layer, size in enumerate(rng.permutation(shape[0])):
            step = source[layer] - base[layer]
            step[size + 1 :] *= 0.01
            source[layer] = base[layer] + step
    return base, sources


def scales(base, source, strength):
    scores = reference.larv_scores(base, source)
    third = np.argsort(np.argsort(scores)) * 3 // len(scores)
    return 1 + strength * (third - 1.0)


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("shape", [(6, 12, 30), (9, 16, 8)])
def test_the_paper(shape, strength):
    base, sources = uneven(3, shape)
    merged = merge_leaf(larv(), base, sources, layered=True, weight=WEIGHTS, strength=strength)
    expected = np.array(base, np.float64)
    for source, weight in zip(sources, WEIGHTS, strict=True):
        own = scales(base, source, strength)
        assert set(own) == {1 - strength, 1.0, 1 + strength}
        vector = task_vector_reference.task_vector(base, source)
        expected += weight * own[:, None, None] * vector
    np.testing.assert_allclose(merged, expected, rtol=0, atol=2e-6)


def test_on_ties_it_is_ties_of_scaled_task_vectors():
    base, sources = uneven(3, (6, 12, 30))
    densities = [0.2, 0.5, 0.9]
    merged = merge_leaf(
        larv(trim="magnitude", consensus="sum"),
        base,
        sources,
        layered=True,
        weight=WEIGHTS,
        density=densities,
        strength=0.5,
    )
    own = [scales(base, source, 0.5) for source in sources]
    for layer in range(6):
        scaled = [
            task_vector_reference.trim(
                s[layer] * task_vector_reference.task_vector(base[layer], one[layer]), density
            )
            for s, one, density in zip(own, sources, densities, strict=True)
        ]
        expected = base[layer] + task_vector_reference.elect_and_merge(scaled, WEIGHTS, False)
        np.testing.assert_allclose(merged[layer], expected, rtol=0, atol=2e-6)


def test_without_strength_it_is_the_merger_beneath():
    base, sources = uneven(3, (6, 12, 30))
    given = {"weight": WEIGHTS, "density": [0.3] * 3}
    merged = merge_leaf(
        larv("magnitude", "sum"), base, sources, layered=True, strength=0.0, **given
    )
    beneath = task_vectors("magnitude", "sum")
    expected = merge_leaf(beneath, base, sources, layered=True, **given)
    np.testing.assert_array_equal(merged, expected)


@pytest.mark.parametrize(
    ("shape", "layered"), [((12, 30), False), ((4, 12), True), ((1, 9, 8), True)]
)
def test_what_is_no_stack_of_matrices_is_not_scaled(shape, layered):
    base, sources = tensors(3, shape)
    merged = merge_leaf(larv(), base, sources, layered=layered, weight=WEIGHTS, strength=0.5)
    expected = merge_leaf(task_arithmetic(), base, sources, layered=layered, weight=WEIGHTS)
    np.testing.assert_array_equal(merged, expected)


def test_strength_and_weights_may_differ_between_layers():
    base, sources = uneven(2, (6, 12, 30))
    strength, weights = np.linspace(0, 1, 6), np.random.default_rng(0).random((2, 6))
    merged = merge_leaf(larv(), base, sources, layered=True, weight=weights, strength=strength)
    for layer in range(6):
        own = {"weight": weights[:, layer], "strength": strength[layer]}
        whole = merge_leaf(larv(), base, sources, layered=True, **own)
        np.testing.assert_allclose(merged[layer], whole[layer], rtol=0, atol=1e-6)


def test_an_unknown_trim_is_refused():
    with pytest.raises(ValueError, match="larv: trim is 'some'"):
        larv(trim="some")
