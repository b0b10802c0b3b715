"""CLIPs merge: from pictures and checkpoints to a directory that transformers reads."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import CLIPModel

from evojax_merge import evaluate, evolve, export, load
from evojax_merge import merge as merge_recipe
from evojax_merge.checkpoints import load_config
from evojax_merge.checkpoints.audit import audit
from evojax_merge.fitness import image_classification_task
from tests.clip_factory import (
    clip_config,
    spell_as_before,
    tower_config,
    write_clip,
    write_pictures,
    write_reading_files,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate(("base", "a", "b")):
        write_clip(folder / name, clip_config(), seed)
        write_reading_files(folder / name)
    data = write_pictures(folder / "data")
    for number, line in enumerate(data.read_text().splitlines()):
        place = folder / "classes" / json.loads(line)["label"]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "data" / f"{number}.png", place)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::evojax_merge.search.loop.ConstantFitnessWarning")
def test_a_merge_of_both_towers_is_searched_exported_and_rebuilt(folder, tmp_path):
    run = evolve(
        [
            "fitness=several",
            "+fitness@fitness.tasks.lines=image_classification",
            "+fitness@fitness.tasks.folders=image_classification",
            f"fitness.tasks.lines.data={folder / 'data' / 'pictures.jsonl'}",
            f"fitness.tasks.folders.data={folder / 'classes'}",
            "fitness.tasks.folders.templates=['a {} picture','a {} photo']",
            f"model.base={folder / 'base'}",
            f"model.sources=[{folder / 'a'},{folder / 'b'}]",
            "operator=task_arithmetic",
            "space.layers_per_block=2",
            "search.evaluations=8",
            "strategy.population_size=4",
            "baselines.published=false",
        ],
        tmp_path / "run",
    )
    assert [result.name for result in run.results] == ["base", "a", "b", "evolved"]
    stacks = [(segment.stack, segment.first) for segment in run.recipe.segments]
    assert stacks == [
        ("text.layers", 0),
        ("text.layers", 2),
        ("vision.layers", 0),
        ("vision.layers", 2),
    ]
    exported = tmp_path / "run" / "export"
    assert {"tokenizer.json", "preprocessor_config.json"} <= {f.name for f in exported.iterdir()}
    model, report = CLIPModel.from_pretrained(exported, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    held = load_file(exported / "model.safetensors")
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor, held[name])
    export(merge_recipe(tmp_path / "run" / "recipe.yaml"), tmp_path / "again")
    again = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert again == (exported / "model.safetensors").read_bytes()
    task = image_classification_task(str(folder / "data" / "pictures.jsonl"))
    scores = json.loads((tmp_path / "run" / "results.json").read_text())
    assert evaluate(load(exported), task).items.shape == (6,)
    assert scores


def test_towers_that_are_spelled_otherwise_are_merged_without_a_warning(tmp_path, recwarn):
    for seed, name in enumerate(("new", "old")):
        write_clip(tmp_path / name, tower_config("vision"), seed)
    spell_as_before(tmp_path / "old", "vision")
    new, old = (load_config(tmp_path / name) for name in ("new", "old"))
    assert audit(new, [old])
    assert not [w for w in recwarn if "configuration" in str(w.message)]
    export(load(old), tmp_path / "again")
    stored = load_file(tmp_path / "again" / "model.safetensors")
    assert all(name.startswith("vision_model.") for name in stored)
    assert len(stored) == len(new.tensors)


def test_other_shapes_and_other_families_are_refused(folder, tmp_path):
    write_clip(tmp_path / "wide", clip_config(vision={"intermediate_size": 48}))
    clip, wide = load_config(folder / "base"), load_config(tmp_path / "wide")
    with pytest.raises(ValueError, match=r"vision_model\.encoder\.layers\.0\.mlp\.fc1\.bias is"):
        audit(clip, [wide])
    with pytest.raises(ValueError, match="layers can be routed in decoders only"):
        evolve(
            [
                "space=dataflow",
                "fitness=image_classification",
                f"fitness.data={folder / 'classes'}",
                f"model.sources=[{folder / 'a'},{folder / 'b'}]",
            ],
            tmp_path / "run",
        )
