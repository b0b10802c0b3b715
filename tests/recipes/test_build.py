"""What is refused of a recipe before any weights are read."""

import dataclasses

import numpy as np
import pytest

from evojax_merge import api
from evojax_merge.cli import main
from evojax_merge.models.segments import Segment
from evojax_merge.recipes import execution
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.sources.reference import Ingredient
from tests.checkpoints_factory import tiny_config, write_checkpoint


@pytest.fixture
def given(tmp_path) -> Recipe:
    """A recipe by della of two sources and two segments, of models without usable weights."""
    for name in ("base", "a", "b"):
        write_checkpoint(tmp_path / name, tiny_config())
    return Recipe(
        operator="evojax_merge.operators.della",
        arguments={},
        base=Ingredient(str(tmp_path / "base")),
        sources=(Ingredient(str(tmp_path / "a")), Ingredient(str(tmp_path / "b"))),
        segments=(
            Segment("mlp", ("mlp",), 0, 3),
            Segment("rest", ("embedding", "attention", "norm", "head"), 0, 3),
        ),
        coefficients={
            "weight": np.ones((2, 2), np.float32),
            "density": np.array([[0.5, 0.5], [0.9, 0.5]], np.float32),
            "epsilon": np.full((2, 2), 0.2, np.float32),
        },
    )


def refused(given: Recipe, monkeypatch) -> str:
    """The message, where nothing reads weights."""
    monkeypatch.setattr(execution, "load_ingredients", None)
    monkeypatch.setattr(execution, "_check_unchanged", None)
    with pytest.raises(RecipeError) as error:
        api.merge(given)
    return str(error.value)


def test_coefficients_that_do_not_go_together(given, monkeypatch):
    message = refused(given, monkeypatch)
    assert "density 0.9 +- epsilon 0.2 must stay within (0, 1)" in message
    assert f"source 1 ({given.sources[1].path})" in message
    assert "segment mlp 0–2 (layers.mlp.down_proj.weight and 2 more)" in message


def test_apply_says_it_in_one_line(given, tmp_path, capsys):
    given.save(tmp_path / "recipe.yaml")
    with pytest.raises(SystemExit, match="2"):
        main(["apply", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith("error: segment mlp 0–2")
    assert len(error) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": None}, "della merges task vectors"),
        ({"segments": (Segment("mlp", ("mlp",), 0, 3),) * 2}, "in no segment"),
        ({"sources": (Ingredient("a"),)}, "weight of della must be a list of one number for each"),
    ],
)
def test_what_does_not_fit(given, monkeypatch, changes, message):
    if "sources" in changes:  # one that is there
        changes = {"sources": given.sources[:1]}
    found = refused(dataclasses.replace(given, **changes), monkeypatch)
    assert message in found
