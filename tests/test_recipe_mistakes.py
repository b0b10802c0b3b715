"""What is wrong with a recipe written by hand, said in one line before weights are read."""

import dataclasses

import pytest
import yaml

from evojax_merge import api
from evojax_merge.recipe import Ingredient, Recipe, RecipeError
from tests.checkpoints_factory import tiny_config, write_checkpoint

GROUPS = ["attention", "mlp", "norm", "embedding", "head"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> dict:
    """A recipe that is right, of two tiny models of three layers and their base."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "a", "b")):
        write_checkpoint(folder / name, tiny_config(), seed=seed)
    return {
        "evojax_merge": 1,
        "operator": "evojax_merge.operators.task_arithmetic",
        "arguments": {},
        "base": {"path": str(folder / "base")},
        "sources": [{"path": str(folder / name)} for name in ("a", "b")],
        "seed": 0,
        "segments": [{"name": "all", "groups": GROUPS, "layers": [0, 3], "weight": [0.5, 0.5]}],
    }


def apply(tree: dict) -> None:
    api.merge(Recipe.from_yaml(yaml.safe_dump(tree)))


def test_the_recipe_is_right(tree):
    apply(tree)


def operator(name: str, /, arguments: dict | None = None, **coefficients) -> dict:
    segment = {"name": "all", "groups": GROUPS, "layers": [0, 3], **coefficients}
    return {
        "operator": f"evojax_merge.operators.{name}",
        "arguments": arguments or {},
        "segments": [segment],
    }


W = {"weight": [0.5, 0.5]}
RAM = {"weight": [1, 1], "r": 0.1, "alpha": 0.2}


def segment(**changes) -> dict:
    return {"segments": [{"name": "all", "groups": GROUPS, "layers": [0, 3], **W, **changes}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": 7}, "reference is 7; give base, or the index of a source, from 0 to 1"),
        ({"reference": -1}, "reference is -1; give base"),
        ({"reference": "foo"}, "reference is 'foo'; give base"),
        ({"sources": []}, "sources is empty"),
        ({"seed": 1.5}, "seed is 1.5; give a whole number"),
        ({"dtype": "f33"}, "dtype is 'f33'; use float32, bfloat16, float16"),
        ({"dtype": "int8"}, "dtype is 'int8'; use"),
        ({"dtype": "float64"}, "dtype is 'float64'; use"),
        ({"arguments": {"lam": "big"}}, "lam must be a finite number, not the text 'big'"),
        ({"arguments": {"lam": float("nan")}}, "lam must be a finite number, not nan"),
        ({"arguments": {"lam": 1e39}}, r"lam must be a finite number, not 1e\+39"),
        ({"arguments": {"normalize": "yes"}}, "normalize must be true or false, not the text"),
        (segment(groups=["q_prooj", *GROUPS]), r"'q_prooj' is no .* \(did you mean q_proj\?\)"),
        (segment(groups="mlp"), r"segments\[0\].groups is 'mlp'; give a list"),
        (segment(groups=[*GROUPS, "mlp"]), "segment all: names mlp twice"),
        (segment(layers=[0, 9]), r"layers \[0, 9\] of a model of 3 layers; give .* \[0, 3\]"),
        (segment(layers=[0, 3.0]), r"segments\[0\].layers is \[0, 3.0\]; give"),
        (segment(weight=[0.5, float("inf")]), "weight inf of .* must be a finite number$"),
        (
            operator("consensus_ta", {"least": 9}, threshold=[0.4, 0.4], **W),
            "consensus_ta merges at least 9 sources, got 2",
        ),
        (
            operator("tall_mask", {"task": 2}, threshold=[0.4, 0.4], **W),
            "tall_mask merges at least 3 sources, got 2",
        ),
        (operator("karcher", {"max_iter": 0}, **W), "max_iter must be a whole number of at least"),
        (operator("karcher", {"max_iter": -3}, **W), "not -3"),
        (operator("karcher", {"tol": -1}, **W), "tol must be a finite number of at least 0"),
        (operator("geometric_median", {"max_iter": 0}, **W), "max_iter must be a whole number"),
        (operator("ram", {"epsilon": -1}, **W), "epsilon must be a finite number of at least 0"),
        (operator("ramplus", **RAM | {"r": -5}), "r -5 of ramplus must be a finite number of at"),
        (operator("ramplus", **RAM | {"alpha": -1}), "alpha -1 of ramplus must be"),
        (operator("slerp", {"dot_threshold": 2.0}, t=0.5), "dot_threshold must be .* from 0 to 1"),
        (operator("nuslerp", {"along": "row"}, **W), "along is 'row'; use one of tensor, rows"),
    ],
)
def test_each_mistake_is_named_before_weights_are_read(tree, monkeypatch, changes, message):
    monkeypatch.setattr(api, "load_ingredients", None)
    with pytest.raises(ValueError, match=message):
        apply(tree | changes)


def test_a_recipe_made_in_python_is_checked_too(tree):
    given = Recipe.from_yaml(yaml.safe_dump(tree))
    with pytest.raises(RecipeError, match="reference is 1"):
        dataclasses.replace(given, sources=(Ingredient("a"),), reference=1)


@pytest.mark.parametrize("name", ["ties", "nearswap"])
def test_a_source_that_is_the_base_is_named(tree, name):
    numbers = {"ties": {**W, "density": [0.5, 0.5]}, "nearswap": {"t": 0.1}}[name]
    sources = [tree["base"], *tree["sources"]][: len(numbers.get("weight", [0]))]
    with pytest.raises(ValueError, match="base is the base in every tensor"):
        apply(tree | operator(name, **numbers) | {"sources": sources})


def test_methods_without_task_vectors_may_merge_the_base(tree):
    apply(tree | operator("linear", **W) | {"sources": [tree["base"], *tree["sources"][:1]]})
