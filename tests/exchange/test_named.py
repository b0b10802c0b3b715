"""Files of mergekit on models of any architecture, which are merged by names and shapes."""

import json

import numpy as np
import pytest

from evojax_merge.checkpoints import CheckpointError
from evojax_merge.exchange import ExchangeError
from evojax_merge.exchange.application import apply_plan
from tests.checkpoints_factory import word_tokenizer, write_checkpoint
from tests.exchange.conftest import merged, plan_of, tensors_of
from tests.named_factory import CONFIGS, tensors, write_models


def linear(paths, weights=(0.25, 0.75), **more):
    return {
        "merge_method": "linear",
        "models": [
            {"model": str(path), "parameters": {"weight": weight}}
            for path, weight in zip(paths, weights, strict=True)
        ],
        **more,
    }


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_tensor_is_merged_by_its_name(tmp_path, kind):
    _, *paths = write_models(tmp_path, kind)
    found = merged(linear(paths), tmp_path / "out")
    first, second = map(tensors_of, paths)
    assert found.keys() == first.keys()
    for name, tensor in found.items():
        wanted = 0.25 * first[name] + 0.75 * second[name]
        if name.endswith("attn.bias"):  # a mask, which is no parameter
            wanted = first[name]
        np.testing.assert_allclose(tensor, wanted, rtol=1e-5, atol=1e-7, err_msg=name)
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    if kind == "unet":
        assert written == CONFIGS[kind][0]
    else:
        assert written == CONFIGS[kind][0] | {"dtype": "float32"}


def test_whole_numbers_and_files_are_those_of_the_reference(tmp_path):
    config, shapes = {"model_type": "bert"}, {"a.weight": (3, 2), "a.position_ids": (1, 5)}
    paths = []
    for seed in range(2):
        own = tensors(shapes, seed)
        path = write_checkpoint(tmp_path / f"{seed}", config, tensors=own)
        (path / "preprocessor_config.json").write_text(json.dumps({"size": seed}))
        paths.append(path)
    tree = linear(paths, dtype="bfloat16")
    plan = plan_of(tree)
    apply_plan(plan, tmp_path / "out", max_shard_size=12)
    found, first = tensors_of(tmp_path / "out"), tensors_of(paths[0])
    assert found["a.weight"].dtype.name == "bfloat16"
    assert found["a.position_ids"].dtype == np.int64
    np.testing.assert_array_equal(found["a.position_ids"], first["a.position_ids"])
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 2
    assert json.loads((tmp_path / "out" / "preprocessor_config.json").read_text()) == {"size": 0}


def test_files_of_diffusers_keep_their_names(tmp_path):
    paths = list(write_models(tmp_path, "unet"))[1:]
    for path in paths:
        (path / "model.safetensors").rename(path / "diffusion_pytorch_model.safetensors")
    found = merged(linear(paths), tmp_path / "out")
    assert len(found) == len(CONFIGS["unet"][1])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.json", "diffusion_pytorch_model.safetensors"}
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"pipeline of several models; .* a, b, base"):
        plan_of(linear([tmp_path, paths[0]]))


def test_slices_gradients_and_filters_find_the_layers(tmp_path):
    _, *paths = write_models(tmp_path, "gpt2")
    first, second = map(tensors_of, paths)
    gradient = [{"filter": "mlp", "value": [0.0, 1.0]}, {"value": 1.0}]
    sources = [
        {"model": str(paths[0]), "layer_range": [0, 6], "parameters": {"weight": gradient}},
        {"model": str(paths[1]), "layer_range": [5, 11], "parameters": {"weight": 1.0}},
    ]
    tail = [{"model": str(paths[0]), "layer_range": [8, 9], "parameters": {"weight": 1.0}}]
    tree = {"merge_method": "linear", "slices": [{"sources": sources}, {"sources": tail}]}
    tree["parameters"] = {"normalize": False}
    found = merged(tree, tmp_path / "out")
    name = "transformer.h.{}.mlp.c_fc.weight".format
    for layer in range(6):
        wanted = layer / 5 * first[name(layer)] + second[name(layer + 5)]
        np.testing.assert_allclose(found[name(layer)], wanted, rtol=1e-5, atol=1e-6)
    for stored in ("mlp.c_fc.weight", "attn.bias"):
        np.testing.assert_array_equal(
            found[f"transformer.h.6.{stored}"], first[f"transformer.h.8.{stored}"]
        )
    assert not any(".h.7." in key for key in found)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["n_layer"] == 7


def test_slices_of_two_stacks_are_refused(tmp_path):
    paths = list(write_models(tmp_path, "t5"))
    sources = [{"model": str(path), "layer_range": [0, 2]} for path in paths[1:]]
    tree = {"merge_method": "karcher", "slices": [{"sources": sources}]}
    with pytest.raises(
        ExchangeError, match=r"2 stacks of layers \(.*encoder.block of 2.*use models"
    ):
        plan_of(tree)


def test_what_differs_is_listed_in_one_error(tmp_path):
    config, shapes = CONFIGS["unet"]
    own, other = tensors(shapes, 0), tensors(shapes, 1)
    del other["down_blocks.1.resnets.0.conv1.weight"]
    other["down_blocks.1.extra.weight"] = own["conv_in.weight"]
    paths = [
        write_checkpoint(tmp_path / name, config, tensors=held)
        for name, held in (("own", own), ("other", other))
    ]
    with pytest.raises(ExchangeError) as error:
        plan_of(linear(paths))
    assert "other has down_blocks.{layer}.extra.weight besides" in str(error.value)
    del other["down_blocks.1.extra.weight"]
    write_checkpoint(tmp_path / "other", config, tensors=other)
    with pytest.raises(ExchangeError, match=r"other lacks down_blocks.1.resnets.0.conv1.weight"):
        plan_of(linear(paths))
    other["down_blocks.1.resnets.0.conv1.weight"] = own["conv_in.weight"]
    write_checkpoint(tmp_path / "other", config, tensors=other)
    with pytest.raises(
        ExchangeError, match=r"down_blocks.1.resnets.0.conv1.weight: \[8, 4, 3, 3\]"
    ):
        plan_of(linear(paths))


def test_a_head_that_repeats_the_table_is_no_tensor_of_its_own(tmp_path):
    config, shapes = CONFIGS["gpt2"]
    paths = []
    for seed in range(2):
        own = tensors(shapes, seed)
        if not seed:
            own["lm_head.weight"] = own["transformer.wte.weight"]
        paths.append(write_checkpoint(tmp_path / f"{seed}", config, tensors=own))
    found = merged(linear(paths), tmp_path / "out")
    assert "lm_head.weight" not in found
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["tie_word_embeddings"] is True


def test_tokens_are_brought_to_one_vocabulary(tmp_path):
    config, shapes = CONFIGS["gpt2"]
    paths = []
    for seed, words in enumerate((["a", "b"], ["b", "c", "a"])):
        tokenizer = word_tokenizer(words)
        own = {**shapes, "transformer.wte.weight": (len(tokenizer), 4)}
        path = tmp_path / f"{seed}"
        own_config = config | {"vocab_size": len(tokenizer)}
        paths.append(
            write_checkpoint(path, own_config, tensors=tensors(own, seed), tokenizer=tokenizer)
        )
    with pytest.raises(ExchangeError, match="give a tokenizer_source"):
        plan_of(linear(paths))
    found = merged(linear(paths, tokenizer_source="union"), tmp_path / "out")
    first, second = (tensors_of(path)["transformer.wte.weight"] for path in paths)
    table = found["transformer.wte.weight"]
    np.testing.assert_allclose(table[4], 0.25 * first[4] + 0.75 * second[6], rtol=1e-5)
    np.testing.assert_allclose(table[6], second[5], rtol=1e-5)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == 7


def test_a_quantised_model_is_refused(tmp_path):
    own = {"h.0.weight": np.ones((2, 2), np.int8)}
    path = write_checkpoint(tmp_path / "a", {"model_type": "gpt2"}, tensors=own)
    with pytest.raises(CheckpointError, match=r"h\.0\.weight holds whole numbers"):
        plan_of(linear([path, path]))
