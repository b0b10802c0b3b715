import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.zero_shot import class_features, prompts


def test_every_class_is_put_into_every_template():
    found = prompts(["cat", "{tree} 9"], ["a photo of a {}.", "a {}, drawn in {ink}."])
    assert found == [
        ["a photo of a cat.", "a cat, drawn in {ink}."],
        ["a photo of a {tree} 9.", "a {tree} 9, drawn in {ink}."],
    ]
    assert prompts(["cat"]) == [["a photo of a cat."]]


def test_a_class_is_the_mean_of_the_directions_of_its_prompts():
    features = np.random.default_rng(0).standard_normal((4, 3, 8)) * [[[1], [10], [100]]]
    directions = features / np.linalg.norm(features, axis=-1, keepdims=True)
    mean = directions.mean(1)
    expected = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
    found = class_features(jnp.asarray(features, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert class_features(jnp.asarray(features, jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("names", "templates", "message"),
    [
        ([], ["a {}."], "at least one name"),
        (["cat"], [], "at least one template"),
        ("cat", ["a {}."], "need a list"),
        (["cat"], "a {}.", "need a list"),
        (["cat", "dog", "cat"], ["a {}."], "class 'cat'"),
        (["cat", " "], ["a {}."], "class ' '"),
        (["cat"], ["a photo."], "template 'a photo.'"),
        (["cat"], ["a {} and a {}."], "template"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(names, templates, message):
    with pytest.raises(DataError, match=message):
        prompts(names, templates)
