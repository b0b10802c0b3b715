import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from evojax_merge.checkpoints import (
    CheckpointError,
    default_parts,
    export,
    load,
    load_config,
    take_parts,
)
from evojax_merge.models.family import DECODER, LLAVA
from evojax_merge.params.tree import flatten, unflatten
from tests.checkpoints_factory import tiny_config, write_checkpoint
from tests.llava_factory import llava_config, write_llava

SPELLINGS = ["hub", "file", "memory"]


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    directory = tmp_path_factory.mktemp("llava")
    write_llava(directory, llava_config())
    return directory


def tensors_of(directory):
    return load_file(directory / "model.safetensors")


def language_model(source):
    return load(take_parts(load_config(source), ["language_model"]))


def moved(model, factor=2.0):
    leaves = {path: factor * leaf for path, leaf in flatten(model.params).items()}
    return dataclasses.replace(model, params=unflatten(leaves))


def test_a_text_model_has_no_parts(tmp_path):
    checkpoint = load_config(write_checkpoint(tmp_path, tiny_config()))
    assert default_parts(checkpoint) == ()
    assert take_parts(checkpoint, ["language_model"]) is checkpoint


def test_the_language_model_is_a_decoder_by_itself(llava):
    whole = load(llava)
    assert default_parts(load_config(llava)) == ("language_model",)
    model = language_model(llava)
    assert model.family is DECODER
    assert model.carrier.family is LLAVA
    assert model.parts == ("language_model",)
    assert model.tokenizer.convert_tokens_to_ids("<image>") == 260
    for path, leaf in flatten(model.params).items():
        np.testing.assert_array_equal(leaf, flatten(whole.params)[f"language_model.{path}"])


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_part_is_written_with_all_else_that_its_carrier_holds(spelling, tmp_path):
    write_llava(tmp_path / "own", llava_config("llava_next"), spelling=spelling)
    model = language_model(tmp_path / "own")
    export(moved(model), tmp_path / "out")
    before, after = tensors_of(tmp_path / "own"), tensors_of(tmp_path / "out")
    assert before.keys() == after.keys()
    merged = take_parts(model.carrier, ["language_model"]).slots
    assert 0 < len(merged) < len(before)
    for name, tensor in before.items():
        np.testing.assert_array_equal(after[name], (2 if name in merged else 1) * tensor)
    for name in ("preprocessor_config.json", "processor_config.json", "chat_template.jinja"):
        if (tmp_path / "own" / name).exists():
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "own" / name).read_bytes()
    written = [json.loads((tmp_path / n / "config.json").read_text()) for n in ("own", "out")]
    differing = [key for key in written[1] if written[0].get(key) != written[1][key]]
    # The tokenizer has an end of text, and this config.json says nothing of it.
    assert set(differing) <= {"dtype", "torch_dtype", "text_config", "eos_token_id"}


def test_the_export_is_what_transformers_loads(llava, tmp_path):
    export(moved(language_model(llava), 1.5), tmp_path / "out")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    before = AutoModelForImageTextToText.from_pretrained(llava)
    AutoProcessor.from_pretrained(tmp_path / "out")
    mine = dict(model.named_parameters())
    for name, leaf in before.named_parameters():
        factor = 1.5 if "language_model" in name or name.startswith("lm_head") else 1.0
        assert torch.equal(mine[name], factor * leaf), name


def test_tensors_of_the_carrier_keep_their_dtype(llava, tmp_path):
    model = take_parts(load_config(llava), ["language_model"])
    export(load(model, "bfloat16"), tmp_path / "out")
    after = load_config(tmp_path / "out")
    kinds = {name: info.dtype for name, info in after.tensors.items()}
    assert {kind for name, kind in kinds.items() if name in model.slots} == {"BF16"}
    assert {kind for name, kind in kinds.items() if name not in model.slots} == {"F32"}


@pytest.mark.parametrize("parts", [["language_model"], ["language_model", "projector"]])
def test_merged_parts_say_their_dtype(parts, llava, tmp_path):
    export(load(take_parts(load_config(llava), parts), "bfloat16"), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["dtype"] == written["text_config"]["dtype"] == "bfloat16"


def test_several_parts_stay_a_model_that_sees(llava, tmp_path):
    parts = ["projector", "language_model"]
    model = load(take_parts(load_config(llava), parts))
    assert model.family is LLAVA
    assert {path.split(".")[0] for path in flatten(model.params)} == set(parts)
    export(moved(model), tmp_path / "out")
    before, after = tensors_of(llava), tensors_of(tmp_path / "out")
    for name, tensor in before.items():
        factor = 1 if name.startswith("vision_tower") else 2
        np.testing.assert_array_equal(after[name], factor * tensor)


def test_a_part_that_is_not_there_is_refused(llava):
    with pytest.raises(CheckpointError, match=r"has no part 'language'; it has .*language_model"):
        take_parts(load_config(llava), ["language"])
