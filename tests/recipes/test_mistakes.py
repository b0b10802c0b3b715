"""What is wrong with a recipe written by hand, said in one line before weights are read."""

import dataclasses
import datetime

import pytest
import yaml

from evojax_merge import api
from evojax_merge.recipes import execution
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.sources.reference import Ingredient
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
        (segment(layers=[0, 3.5]), r"segments\[0\].layers\[1\] is 3.5; give a whole number"),
        (segment(layers=[0]), r"segments\[0\].layers is \[0\]; give at least 2 entries"),
        (segment(weight=[True, False]), r"segments\[0\].weight is \[True, False\]; give a finite"),
        (segment(weight=["0.5", "0.5"]), r"segments\[0\].weight is .*; give a finite number"),
        (segment(weight=[10**39, 0]), r"segments\[0\].weight is .*; give a finite number"),
        (segment(weight=[[0.5], [0.5]]), r"segments\[0\].weight is .*; give a finite number"),
        ({"evojax_merge": True}, "evojax_merge is True; give a whole number"),
        ({"vocabulary": {"x": 1}}, "vocabulary.x is 1; give a mapping"),
        ({"vocabulary": [1]}, r"vocabulary is \[1\]; give a mapping"),
        ({"arguments": {"x": datetime.date(2026, 1, 1)}}, "arguments.x is .*; give texts, numbers"),
        ({"arguments": {"x": [{1: 2}]}}, "arguments.x is .*; give a mapping whose keys are texts"),
        ({"arguments": {1: 2}}, "arguments.* is 1; give a text"),
        ({"sources": [{"path": "~nobody_of_this_name/x"}] * 2}, "home of a user"),
        ({"sources": [{"path": "a"}] * 1_000}, "sources is .*; give at most 512 entries"),
        ({"seed": "1"}, "seed is '1'; give a whole number"),
        (
            segment(weight=[0.5, float("inf")]),
            r"segments\[0\].weight is \[0.5, inf\]; give a finite number",
        ),
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
    monkeypatch.setattr(execution, "load_ingredients", None)
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


@pytest.mark.parametrize("operator", [None, 1, -1, [], {}, True, float("nan"), [1], ""])
def test_an_operator_is_a_text(tree, operator):
    with pytest.raises(RecipeError, match=r"operator is .*; give a text"):
        apply(tree | {"operator": operator})


def test_numbers_may_be_written_otherwise(tree):
    numbers = {"evojax_merge": 1.0, "seed": 0.0} | segment(layers=[0.0, 3.0], weight=[1, 0])
    read = Recipe.from_yaml(yaml.safe_dump(tree | numbers))
    assert (read.seed, read.segments[0].stop) == (0, 3)
    assert read.to_yaml() == Recipe.from_yaml(read.to_yaml()).to_yaml()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arguments: &a {x: [*a]}", "stands for what it is in"),
        ("arguments: {x: " + "[" * 5_000 + "]" * 5_000 + "}", "nested more than 64 deep"),
        ("a: &a [1, 1]\nb: &b [*a, *a]\n" * 1, "unknown key a"),
    ],
)
def test_aliases_and_depth_are_bounded(tree, text, message):
    written = yaml.safe_dump({name: value for name, value in tree.items() if name != "arguments"})
    with pytest.raises(RecipeError, match=message):
        Recipe.from_yaml(written + text)


def test_a_bomb_of_aliases(tree):
    lines = ["x0: &x0 [lol]"] + [f"x{n}: &x{n} [{f'*x{n - 1}, ' * 9}]" for n in range(1, 12)]
    written = yaml.safe_dump({name: value for name, value in tree.items() if name != "arguments"})
    bomb = "arguments:\n  " + "\n  ".join(lines)
    with pytest.raises(RecipeError, match="stands for more than 1,000,000 values"):
        Recipe.from_yaml(written + bomb)


def test_methods_without_task_vectors_may_merge_the_base(tree):
    apply(tree | operator("linear", **W) | {"sources": [tree["base"], *tree["sources"][:1]]})
