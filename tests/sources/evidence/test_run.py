"""From a command line to a checkpoint, and the same checkpoint again from the recipe."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from evojax_merge import api, evolve
from evojax_merge.recipes.coefficients import Recipe


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
@pytest.mark.parametrize("name", ["fisher", pytest.param("regmean", marks=pytest.mark.slow)])
def test_a_search_over_evidence_and_its_recipe(name, directories, texts, tmp_path):
    run = evolve(
        [
            f"operator={name}",
            f"operator.data={texts}",
            "operator.template='{question}'",
            "fitness=perplexity",
            f"fitness.data={texts}",
            f"model.base={directories['base']}",
            f"model.sources=[{directories['a']},{directories['b']}]",
            "search.evaluations=8",
            "strategy.population_size=4",
            "baselines.published=false",
        ],
        tmp_path / "run",
    )
    assert [result.name for result in run.results] == ["base", "a", "b", "evolved"]
    assert len(list((tmp_path / "run" / "evidence").glob("*.safetensors"))) == 2
    exported = load_file(tmp_path / "run" / "export" / "model.safetensors")
    recipe = tmp_path / "run" / "recipe.yaml"
    # With the evidence beside the recipe, and collected again where there is only the recipe.
    for place in (recipe, Recipe.load(recipe)):
        api.export(api.merge(place), tmp_path / "again", overwrite=True)
        again = load_file(tmp_path / "again" / "model.safetensors")
        for tensor, value in exported.items():
            np.testing.assert_array_equal(again[tensor], value)
    with open(texts, "a") as file:
        file.write(json.dumps({"question": "x", "text": "y"}) + "\n")
    with pytest.raises(ValueError, match=r"texts.jsonl: is not the data that the recipe was made"):
        api.merge(recipe)


def test_a_search_without_its_data_stops_before_weights_are_read(directories, texts, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.jsonl: no such file"):
        evolve(
            [
                "operator=fisher",
                "operator.data=nowhere.jsonl",
                "fitness=perplexity",
                f"fitness.data={texts}",
                f"model.sources=[{directories['a']},{directories['b']}]",
            ],
            tmp_path / "run",
        )
    assert not (tmp_path / "run" / "evidence").exists()
