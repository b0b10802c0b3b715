"""A search over the UNets of pipelines, with a fitness that looks at the weights alone."""

import json

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from evojax_merge import api
from evojax_merge.cli import main
from tests.pipelines_factory import (
    folder_tensors,
    pipeline_configs,
    pipeline_tensors,
    write_folder,
    write_single,
)

CONFIGS = pipeline_configs()
TENSORS = [pipeline_tensors(CONFIGS, seed) for seed in range(3)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    write_folder(directory / "a", CONFIGS, TENSORS[0])
    write_single(directory / "b.safetensors", CONFIGS, TENSORS[1])
    write_folder(directory / "c", CONFIGS, TENSORS[2])
    overrides = [
        f"model.sources=[{directory}/a,{directory}/b.safetensors]",
        f"model.carriers={{vae: '{directory}/c'}}",
        "operator=linear",
        "space=unet_attention",
        "space.normalize=true",
        "fitness=size",
        "strategy=cma_es",
        "strategy.population_size=2",
        "search.evaluations=4",
        "baselines.published=false",
    ]
    api.evolve(overrides, directory / "run")
    return directory


@pytest.mark.slow
def test_the_winner_is_a_pipeline_with_what_its_carriers_have(run):
    recipe = yaml.safe_load((run / "run/recipe.yaml").read_text())
    assert recipe["parts"] == ["unet"]
    assert recipe["carriers"]["vae"]["path"] == str(run / "c")
    assert [segment["name"] for segment in recipe["segments"]] == ["attention", "rest"]
    exported = next(path.parent for path in (run / "run").rglob("model_index.json"))
    found = folder_tensors(exported)
    assert json.loads((exported / "model_index.json").read_text())["vae"][1] == "AutoencoderKL"
    for name, tensor in found.items():
        part = name.split("/")[0]
        if part != "unet":
            origin = TENSORS[2 if part == "vae" else 0]
            np.testing.assert_array_equal(tensor, origin[name], err_msg=name)
    main(["apply", str(run / "run"), "--out", str(run / "again.safetensors")])
    main(["apply", str(run / "run"), "--out", str(run / "again")])
    again = folder_tensors(run / "again")
    for name, tensor in found.items():
        np.testing.assert_array_equal(tensor, again[name], err_msg=name)
    assert len(load_file(run / "again.safetensors")) < len(again)  # queries, keys, values are one


@pytest.mark.slow
def test_a_finished_run_resumes(run):
    before = (run / "run/recipe.yaml").read_bytes()
    api.resume(run / "run")
    assert (run / "run/recipe.yaml").read_bytes() == before
