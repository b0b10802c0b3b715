"""Merges at given coefficients, and what is carried out by its file."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import evojax_merge as em
from evojax_merge.checkpoints import CheckpointError
from evojax_merge.documents.bundled import experiments_directory
from evojax_merge.params.tree import flatten
from evojax_merge.recipes import execution
from evojax_merge.recipes.coefficients import Recipe, RecipeError

SOURCES = Path(str(experiments_directory())) / "digits" / "sources"
BASE, PAIR = str(SOURCES / "base"), [SOURCES / "low", str(SOURCES / "high")]


def leaves(model: em.Model) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in flatten(model.params).items()}


def test_task_arithmetic_is_the_base_and_weighted_differences():
    merged = leaves(em.merge("task_arithmetic", PAIR, BASE, weights=[0.5, 0.25]))
    base, low, high = (leaves(em.load(one)) for one in (BASE, *PAIR))
    for name, leaf in merged.items():
        wanted = base[name] + 0.5 * (low[name] - base[name]) + 0.25 * (high[name] - base[name])
        np.testing.assert_allclose(leaf, wanted, atol=1e-6)


def test_the_recipe_of_a_merge_can_be_saved_and_gives_it_again(tmp_path):
    model = em.merge("dare_ties", PAIR, BASE, weights=0.7, density=[0.9, 0.4], lam=1.5, seed=3)
    model.recipe.save(str(tmp_path / "recipe.yaml"))
    again = em.merge(tmp_path / "recipe.yaml")
    for name, leaf in leaves(again).items():
        np.testing.assert_array_equal(leaf, leaves(model)[name])
    kept = Recipe.load(tmp_path / "recipe.yaml")
    assert (kept.seed, kept.arguments) == (3, {"lam": 1.5})
    np.testing.assert_array_equal(kept.coefficients["weight"], np.float32([[0.7], [0.7]]))
    assert all(len(one.sha256) == 64 for one in (kept.base, *kept.sources))


def test_coefficients_that_are_not_given_are_those_that_searches_start_at():
    model = em.merge("slerp", PAIR)
    assert model.recipe.base is None
    np.testing.assert_array_equal(model.recipe.coefficients["t"], np.float32([0.5]))


@pytest.mark.parametrize(
    ("operator", "settings", "message"),
    [
        ("tise", {}, r"no 'tise' \(did you mean ties\?\)"),
        ("ties", {"densty": 1}, r"takes no densty \(did you mean density\?\); its coefficients"),
        ("ties", {"weights": [1, 2, 3]}, "weight of ties is .* one number, or a list of 2"),
        ("ties", {"density": 3}, "density of ties is 3; it must be a finite number from 0 to 1"),
        ("ties", {"weights": float("nan")}, "must be a finite number"),
        ("ties", {"density": "half"}, "give numbers"),
        ("ties", {"normalize": "yes"}, "normalize must be true or false"),
        ("slerp", {"t": [0.5, 0.5]}, "one number for all sources"),
        ("slerp", {"weights": 1}, "slerp takes no weight"),
        ("nearswap", {}, "merges 1 sources, got 2"),
        ("my_package.merge", {}, "trust_operator=True"),
    ],
)
def test_wrong_settings_are_refused_before_weights_are_read(
    operator, settings, message, monkeypatch
):
    monkeypatch.setattr(execution, "load_ingredients", None)
    with pytest.raises(RecipeError, match=message):
        em.merge(operator, PAIR, BASE, **settings)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("ties",), {}, "ties is an operator"),
        (("recipe.yaml",), {"weights": 1, "lam": 2}, "weights, lam: go with the name of"),
        (("ties", BASE), {}, "give a list"),
        (("ties", []), {}, "sources is empty"),
    ],
)
def test_operators_and_recipes_are_told_apart(arguments, settings, message):
    with pytest.raises(RecipeError, match=message):
        em.merge(*arguments, **settings)


def test_models_say_in_a_line_what_they_are():
    model = em.merge("linear", PAIR, weights=[0.5, 0.25])
    assert repr(model) == (
        "Model(mlp, 19,210 parameters, float32, merged by Recipe(linear of low, high, "
        "weight=[0.5, 0.25]))"
    )
    assert repr(em.load(BASE)) == f"Model(mlp, 19,210 parameters, float32, {BASE})"


def test_a_file_of_either_kind_is_applied(tmp_path):
    em.merge("linear", PAIR, weights=[0.5, 0.5]).recipe.save(tmp_path / "recipe.yaml")
    assert em.load(em.apply(tmp_path, tmp_path / "ours")).family.name == "mlp"  # as of a run
    with pytest.raises(CheckpointError, match="overwrite"):
        em.apply(tmp_path / "recipe.yaml", tmp_path / "ours")
    names = [str(Path(one).resolve()) for one in PAIR]
    theirs = {
        "merge_method": "linear",
        "models": [{"model": name, "parameters": {"weight": 0.5}} for name in names],
    }
    (tmp_path / "theirs.yml").write_text(yaml.safe_dump(theirs))
    merged = em.load(em.apply(tmp_path / "theirs.yml", tmp_path / "theirs"))
    for name, leaf in leaves(em.load(tmp_path / "ours")).items():
        np.testing.assert_allclose(leaves(merged)[name], leaf, atol=1e-6)
