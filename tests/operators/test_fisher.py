"""Fisher averaging against its formula in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.operators import check_coefficients, constant_coefficients, fisher
from evojax_merge.params.tree import flatten
from tests.trees import init_statistics, merge


def transcription(sources, fishers, weights, floor=1e-6):
    """Eq. 3 of arXiv 2111.09832; the floor is relative to the mean of the tensor's Fishers."""
    sources, fishers = np.float64(sources), np.float64(fishers)
    mean = fishers.mean()
    fishers = np.maximum(fishers, floor * mean) if mean > 0 else np.ones_like(fishers)
    weighed = np.float64(weights).reshape(-1, *[1] * (sources.ndim - 1)) * fishers
    return (weighed * sources).sum(0) / weighed.sum(0)


def tree(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    shapes = {"layers.fc.weight": (3, 4, 5), "norm.weight": (5,)}
    flat = {path: np.float32(scale * rng.normal(size=shape)) for path, shape in shapes.items()}
    return {
        "layers": {"fc": {"weight": flat["layers.fc.weight"]}},
        "norm": {"weight": flat["norm.weight"]},
    }


def evidence(seed, scale=1.0):
    """Squares over many orders of magnitude, some of them zero."""
    found = {path: scale * leaf**8 for path, leaf in flatten(tree(seed)).items()}
    for leaf in found.values():
        leaf[..., 0] = 0
    return found


def merged(sources, fishers, weights=None, **options):
    operator = fisher("items.jsonl", **options)
    coefficients = constant_coefficients(operator, sources[0], len(sources))
    if weights is not None:
        for values in coefficients.values():
            values["weight"] = jnp.float32(weights)
    statistics = init_statistics(operator, None, sources, fishers)
    run = jax.jit(lambda s, c, t: merge(operator, None, s, c, t, 0))
    return flatten(run(sources, coefficients, statistics))


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e20])
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.2, 3.0, 0.0)])
def test_it_is_the_papers_formula(weights, scale):
    sources = tuple(tree(seed) for seed in range(3))
    fishers = tuple(evidence(10 + seed, scale) for seed in range(3))
    found = merged(sources, fishers, weights)
    leaves = [flatten(source) for source in sources]
    for path, leaf in found.items():
        layers = range(3) if path.startswith("layers.") else [...]
        for layer in layers:
            want = transcription(
                [one[path][layer] for one in leaves],
                [one[path][layer] for one in fishers],
                weights,
            )
            np.testing.assert_allclose(leaf[layer], want, rtol=1e-4, atol=1e-5)


def test_equal_sources_merge_to_themselves_to_the_bit():
    sources = (tree(0),) * 3
    found = merged(sources, tuple(evidence(seed) for seed in range(3)))
    for path, leaf in flatten(sources[0]).items():
        np.testing.assert_array_equal(found[path], leaf)


@pytest.mark.parametrize("weights", [None, (0.0, 0.0)])
def test_without_evidence_and_without_weights_it_is_the_average(weights):
    sources = (tree(0), tree(1))
    nothing = {path: np.zeros_like(leaf) for path, leaf in flatten(sources[0]).items()}
    found = merged(sources, (nothing, nothing), weights)
    for path, leaf in found.items():
        want = (flatten(sources[0])[path] + flatten(sources[1])[path]) / 2
        np.testing.assert_allclose(leaf, want, rtol=1e-5, atol=1e-6)


def test_all_of_the_fisher_of_an_element_decides_it():
    sources = (tree(0), tree(1))
    flat = flatten(sources[0])
    sure = {path: np.ones_like(leaf) for path, leaf in flat.items()}
    unsure = {path: np.zeros_like(leaf) for path, leaf in flat.items()}
    found = merged(sources, (unsure, sure))
    for path, leaf in flatten(sources[1]).items():
        np.testing.assert_allclose(found[path], leaf, atol=1e-4)


def test_gradients_of_the_weights_are_finite():
    operator = fisher("items.jsonl")
    sources = (tree(0), tree(1))
    statistics = init_statistics(operator, None, sources, (evidence(2), evidence(3)))

    def total(weights):
        coefficients = {path: {"weight": weights} for path in flatten(sources[0])}
        leaves = flatten(merge(operator, None, sources, coefficients, statistics, 0))
        return sum(leaf.sum() for leaf in leaves.values())

    for weights in ([0.5, 0.5], [0.0, 0.0], [1.0, 0.0]):
        assert np.isfinite(jax.grad(total)(jnp.float32(weights))).all()


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="floor must be a number above 0, not 0"):
        fisher("x", floor=0)
    with pytest.raises(ValueError, match="data is empty"):
        fisher([])
    with pytest.raises(ValueError, match=r"2 hashes, operator\.data 1 files"):
        fisher("x", sha256=["a", "b"])
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1"):
        fisher("x", batch_size=0)
    with pytest.raises(ValueError, match=r"batch_size must be a whole number .* not the text '8'"):
        fisher("x", batch_size="8")
    with pytest.raises(ValueError, match="limit must be a whole number of at least 1, not -3"):
        fisher("x", limit=-3)
    with pytest.raises(ValueError, match="data is 5; give a file"):
        fisher(5)
    with pytest.raises(ValueError, match="template is 5; give text"):
        fisher("x", template=5)
    operator, sources = fisher("x"), (tree(0), tree(1))
    with pytest.raises(ValueError, match=r"needs the fisher evidence of each of the 2 .* got none"):
        init_statistics(operator, None, sources)
    with pytest.raises(ValueError, match="weight -1 of fisher must be"):
        check_coefficients(operator, constant_coefficients(operator, sources[0], 2, weight=-1.0))
