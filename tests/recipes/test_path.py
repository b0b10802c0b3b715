"""Data-flow recipes as files."""

import dataclasses

import numpy as np
import pytest

from evojax_merge.models.segments import Segment
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.recipes.path import Hop, PathRecipe, load_recipe
from evojax_merge.sources.reference import Ingredient

MERGED = Recipe(
    operator="evojax_merge.operators.linear.linear",
    arguments={},
    base=None,
    sources=(Ingredient("a", "11"), Ingredient("b", "22")),
    segments=(Segment("all", ("attention", "mlp", "norm", "embedding", "head"), 0, 3),),
    coefficients={"weight": np.array([[0.25], [0.1]], np.float32)},
    reference=0,
)


def recipe(**changes):
    made = PathRecipe(
        pool={"a": Ingredient("a", "11"), "merged": MERGED},
        skeleton="merged",
        hops=(Hop("merged", 0), Hop("a", 2, float(np.float32(0.1))), Hop("a", 2, -1.25)),
        scaling="branch",
        dtype="bfloat16",
        notes={"evaluations": 3},
    )
    return dataclasses.replace(made, **changes)


def test_what_is_written_is_read(tmp_path):
    recipe().save(tmp_path / "recipe.yaml")
    read = load_recipe(tmp_path / "recipe.yaml")
    assert read.to_yaml() == recipe().to_yaml()
    for hop, wanted in zip(read.hops, recipe().hops, strict=True):
        assert hop[:2] == wanted[:2]
        assert np.float32(hop.scale) == np.float32(wanted.scale)
    assert read.pool["merged"].to_yaml() == MERGED.to_yaml()


def test_one_loader_reads_both_kinds(tmp_path):
    MERGED.save(tmp_path / "merge.yaml")
    assert load_recipe(tmp_path / "merge.yaml").to_yaml() == MERGED.to_yaml()


def test_the_path_counts_layers_through_the_pool():
    path = recipe().path({"a": 3, "merged": 4})
    assert path.layer.tolist() == [3, 2, 2]
    np.testing.assert_array_equal(path.branch, np.array([1, 0.1, -1.25], np.float32))
    np.testing.assert_array_equal(path.residual, 1.0)
    stream = recipe(scaling="stream").path({"a": 3, "merged": 4})
    np.testing.assert_array_equal(stream.residual, stream.branch)


def test_a_layer_must_be_there():
    with pytest.raises(RecipeError, match="hop 1: a has layers 0 to 1, not 2"):
        recipe().path({"a": 2, "merged": 4})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hops": ()}, "path is empty"),
        ({"hops": (Hop("a", 0), Hop("a", 1, 0.0))}, "hop 1: scale 0.0 must be finite and not zero"),
        ({"hops": (Hop("a", 0, float("inf")),)}, "hop 0: scale inf"),
        ({"hops": (Hop("c", 0),)}, "hop 0: 'c' is no model of the pool"),
        ({"skeleton": "c"}, "skeleton 'c' is no model of the pool"),
        ({"scaling": "residual"}, "scaling is 'residual'; give one of 'stream' or 'branch'"),
    ],
)
def test_recipes_that_cannot_be_are_refused(changes, message, tmp_path):
    (tmp_path / "recipe.yaml").write_text(recipe(**changes).to_yaml())
    with pytest.raises(RecipeError, match=message):
        load_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: dataflow", "kind: dateflow", "kind 'dateflow' is not known"),
        ("skeleton: merged", "skeletn: merged", "did you mean skeleton"),
        ("name: merged", "name: a", "two models of the pool are called a"),
        (
            "- [merged, 0, 1.0]",
            "- [merged]",
            r"path\[0\] is \['merged'\]; give \[model, layer, scale\]",
        ),
        ("- [merged, 0, 1.0]", "- [[merged], 0, 1.0]", r"path\[0\] is"),
        ("- [merged, 0, 1.0]", "- [merged, .inf, 1.0]", r"path\[0\] is"),
        ("- [merged, 0, 1.0]", "- [merged, true, 1.0]", r"path\[0\] is"),
        ("- [merged, 0, 1.0]", "- [merged, 0, 1.0e+39]", "must be finite"),
        ("- [merged, 0, 1.0]", "- [merged, 0, 1" + "0" * 400 + "]", r"path\[0\] is"),
        ("skeleton: merged", "skeleton: [a]", "skeleton"),
        ("name: merged", "name: 5", r"pool\[1\].name is 5; give a text"),
        (
            "  path: a\n  sha256: '11'\n- name",
            "  path: 5\n  sha256: '11'\n- name",
            r"pool\[0\].path is 5; give a text",
        ),
    ],
)
def test_malformed_files_are_refused(old, new, message, tmp_path):
    text = recipe().to_yaml()
    assert old in text
    (tmp_path / "recipe.yaml").write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=message):
        load_recipe(tmp_path / "recipe.yaml")
