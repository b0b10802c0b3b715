"""Searches among models themselves: from configuration to exported checkpoint, and the recipe."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from evojax_merge import evolve, export, merge
from evojax_merge.cli import main
from evojax_merge.recipes.coefficients import RecipeError
from evojax_merge.recipes.path import load_recipe
from evojax_merge.runs.run import Run
from evojax_merge.search.history import read_history

QUICK = ["baselines.published=false", "search.finalists=4"]
TASKS = [
    "fitness=several",
    "+fitness@fitness.tasks.low=digits",
    "+fitness@fitness.tasks.high=digits",
    "fitness.tasks.low.classes=[0,1,2,3,4]",
    "fitness.tasks.high.classes=[5,6,7,8,9]",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("run")
    return evolve(["+experiment=digits_m2n2", *QUICK, "search.evaluations=30"], directory)


@pytest.mark.slow
def test_the_merge_of_two_halves_is_better_than_either(run: Run) -> None:
    scores = {result.name: result.score for result in run.results if result.split == "test"}
    assert scores["evolved"] > max(scores["low"], scores["high"]) + 0.15


def test_begins_with_the_sources_and_writes_no_long_genotypes(run: Run) -> None:
    rows = list(read_history(run.directory / "history.jsonl"))
    assert [row["genotype"] for row in rows] == [None] * 30
    results = json.loads((run.directory / "results.json").read_text())
    assert results
    assert 0.3 < rows[0]["fitness"] < 0.6  # a half of the classes
    assert 0.3 < rows[1]["fitness"] < 0.6


def test_the_recipe_builds_the_exported_checkpoint_again(run: Run, tmp_path: Path) -> None:
    export(merge(run.directory / "recipe.yaml"), tmp_path / "again")
    again, first = (d / "model.safetensors" for d in (tmp_path / "again", run.directory / "export"))
    assert again.read_bytes() == first.read_bytes()
    main(["apply", str(run.directory / "recipe.yaml"), "--out", str(tmp_path / "applied")])
    assert (tmp_path / "applied" / "model.safetensors").read_bytes() == first.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("split", ["whole", "group"])
def test_a_search_that_was_interrupted_ends_in_the_same_weights(
    run: Run, split: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    overrides = ["+experiment=digits_m2n2", f"strategy.split={split}", *QUICK]
    if split == "group":
        directory = tmp_path_factory.mktemp("uninterrupted")
        whole, run = run, evolve([*overrides, "search.evaluations=30"], directory)
        recipes = [(one.directory / "recipe.safetensors").read_bytes() for one in (whole, run)]
        assert recipes[0] != recipes[1]
    evolve([*overrides, "search.evaluations=15"], tmp_path)
    (tmp_path / "config.yaml").unlink()  # of the same run, but longer
    again = evolve([*overrides, "search.evaluations=30"], tmp_path)
    for name in ("recipe.safetensors", "export/model.safetensors"):
        assert (again.directory / name).read_bytes() == (run.directory / name).read_bytes()


def test_a_curve_is_refused_where_the_history_has_no_genotypes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"search\.curve measures candidates of the history again"):
        evolve(["+experiment=digits_m2n2", *QUICK, "search.curve=3"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "origin"),
    [
        (["strategy=map_elites", "strategy.population_size=4"], "zero"),
        (["strategy=cycle_qd", "strategy.population_size=4", "strategy.mutation=svd"], "base"),
    ],
)
def test_archives_of_elites_start_with_the_sources(
    strategy: list[str], origin: str, tmp_path: Path
) -> None:
    overrides = ["+experiment=digits_m2n2", *strategy, *TASKS, f"space.origin={origin}"]
    run = evolve([*overrides, *QUICK, "search.evaluations=16"], tmp_path)
    rows = list(read_history(run.directory / "history.jsonl"))
    assert rows[0]["objectives"][0] > 0.8
    assert rows[1]["objectives"][1] > 0.8
    assert run.result.score > 0.5


def copied(run: Run, directory: Path) -> Path:
    for name in ("recipe.yaml", "recipe.safetensors"):
        shutil.copyfile(run.directory / name, directory / name)
    return directory / "recipe.yaml"


def test_refuses_recipes_whose_weights_are_missing_or_changed(run: Run, tmp_path: Path) -> None:
    recipe = copied(run, tmp_path)
    weights = load_file(tmp_path / "recipe.safetensors")
    save_file({**weights, "fc1.bias": weights["fc1.bias"] + 1}, tmp_path / "recipe.safetensors")
    with pytest.raises(RecipeError, match=r"is not what recipe\.yaml was written with"):
        load_recipe(recipe)
    (tmp_path / "recipe.safetensors").unlink()
    with pytest.raises(RecipeError, match="keep both files together"):
        load_recipe(recipe)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "../recipe.safetensors"}, "give the name of a file beside the recipe"),
        ({"model": 3}, "model is 3; give a mapping"),
        ({"kind": "weight"}, "kind 'weight' is not known; kinds are dataflow, weights, or none"),
        ({"wieghts": "x"}, "unknown key wieghts"),
    ],
)
def test_refuses_malformed_recipes(
    run: Run, changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    recipe = copied(run, tmp_path)
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), **changes}))
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe)


def test_refuses_to_build_on_another_model(run: Run, tmp_path: Path) -> None:
    recipe = load_recipe(copied(run, tmp_path))
    changed = type(recipe.model)(recipe.model.path, "0" * 64)
    with pytest.raises(RecipeError, match="not the ones the recipe was made with"):
        merge(type(recipe)(changed, recipe.params))
    wrong = {**recipe.params, "fc1": {"weight": np.zeros((2, 2), np.float32)}}
    with pytest.raises(RecipeError, match=r"missing: fc1\.bias\n.*fc1\.weight is \(2, 2\)"):
        merge(type(recipe)(recipe.model, wrong))


def test_mergekit_has_no_such_merges(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["convert", str(run.directory / "recipe.yaml"), "--out", str(tmp_path / "merge.yml")])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["space.max_genes=1000"], "a gene for each of the model's 19,210 weights"),
        (["space.limit=0.01"], r"low has a weight of size .* set space\.limit"),
        (["model.dtype=bfloat16"], r"evolves float32 weights.* set model\.dtype=float32"),
        (["model.base=null", "space.origin=base"], r"give model\.base"),
        (["strategy=cycle_qd"], "give two tasks or more"),
        (["strategy=adamerging"], "GradientDescent follows gradients, of space=parameter only"),
        (["strategy=memetic"], "of space=parameter only"),
    ],
)
def test_refuses_what_it_cannot_search(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        evolve(["+experiment=digits_m2n2", *overrides], tmp_path)
