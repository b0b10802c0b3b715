"""Recipes survive writing and reading, to the bit, and say what is wrong with them."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from evojax_merge.models.segments import Segment
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.sources.reference import Ingredient


def recipe(weight: np.ndarray, **changes) -> Recipe:
    settings = {
        "operator": "evojax_merge.operators.ties",
        "arguments": {"normalize": True, "lam": 1.0},
        "base": Ingredient("models/base", "ab12"),
        "sources": (Ingredient("models/a"), Ingredient("owner/b@main", "cd34")),
        "segments": (Segment("attention", ("attention",), 0, 2), Segment("rest", ("mlp",), 0, 4)),
        "coefficients": {"weight": weight, "t": weight[0]},
        "seed": 7,
        "dtype": "bfloat16",
        "notes": {"言語": "日本語"},
    }
    return Recipe(**(settings | changes))


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(arrays(np.float32, (2, 2), elements=finite))
def test_coefficients_come_back_to_the_bit(weight):
    written = recipe(weight)
    read = Recipe.from_yaml(written.to_yaml())
    for name, value in written.coefficients.items():
        assert read.coefficients[name].dtype == np.float32
        assert read.coefficients[name].tobytes() == value.tobytes()


def test_everything_else_comes_back():
    written = recipe(np.ones((2, 2), np.float32))
    text = written.to_yaml()
    read = Recipe.from_yaml(text)
    assert read.to_yaml() == text
    for name in ("operator", "arguments", "base", "sources", "segments", "seed", "dtype", "notes"):
        assert getattr(read, name) == getattr(written, name)


def test_directories_may_be_relative_to_the_file(tmp_path):
    (tmp_path / "models" / "base").mkdir(parents=True)
    recipe(np.ones((2, 2), np.float32)).save(tmp_path / "recipe.yaml")
    read = Recipe.load(tmp_path / "recipe.yaml")
    assert read.base.path == str(tmp_path / "models" / "base")
    assert read.sources[0].path == "models/a"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "is not a recipe"),
        (lambda text: "a: [", "is not YAML"),
        (lambda text: text + "\noperator: another\n", "the key 'operator' is given twice"),
        (lambda text: text.replace("evojax_merge: 1", "evojax_merge: 99"), "format 99"),
        (lambda text: text.replace("seed: 7", "sead: 7"), r"lacks seed.*did you mean seed"),
        (
            lambda text: text.replace("layers: [0, 2]", "layers: [0]"),
            r"layers is \[0\]; give at least 2 entries",
        ),
        (
            lambda text: text.replace("path: models/base", "pth: models/base"),
            "unknown key base.pth",
        ),
        (lambda text: text[: text.index("segments:")] + "segments: []\n", "segments is empty"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    text = change(recipe(np.ones((2, 2), np.float32)).to_yaml())
    with pytest.raises(RecipeError, match=f"(?s)recipe:.*{message}"):
        Recipe.from_yaml(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"nowhere.yaml: missing"):
        Recipe.load(tmp_path / "nowhere.yaml")
