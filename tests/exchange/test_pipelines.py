"""mergekit's files merge single models, and not pipelines."""

import pytest
import yaml

from evojax_merge.exchange import apply_mergekit, to_mergekit
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.recipes.coefficients import Recipe
from tests.pipelines_factory import pipeline_configs, pipeline_tensors, write_folder

CONFIGS = pipeline_configs()


def test_pipelines_are_refused(tmp_path):
    folder = write_folder(tmp_path / "sdxl", CONFIGS, pipeline_tensors(CONFIGS))
    entry = {"model": str(folder), "parameters": {"weight": 1.0}}
    tree = {"merge_method": "linear", "models": [entry], "dtype": "float32"}
    (tmp_path / "merge.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(ExchangeError, match=r"is a pipeline .*; give the folder of its unet"):
        apply_mergekit(tmp_path / "merge.yaml", tmp_path / "out")


def test_recipes_of_pipelines_are_not_written():
    with pytest.raises(ExchangeError, match=r"merges parts of models \(unet\), for which no file"):
        to_mergekit(Recipe.load("experiments/recipes/evo_ukiyoe.yaml"))
