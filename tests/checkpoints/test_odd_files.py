"""Pipes, folders, links and nonsense in the place of any file of a checkpoint: one error each."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from evojax_merge.checkpoints import (
    CheckpointError,
    load,
    load_adapter_config,
    load_config,
    weights_hash,
)
from evojax_merge.checkpoints.tokenizers import load_tokenizer
from evojax_merge.fitness.encoder import Encoder
from tests.adapters_factory import adapter_tensors, write_adapter
from tests.checkpoints_factory import byte_tokenizer, tiny_config, write_checkpoint


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def link_out(path: Path) -> None:
    outside = path.parent.parent / "outside"
    outside.write_text("{}")
    path.symlink_to(outside)


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


ODD = (pipe, folder, link_out, circle, device)


def replaced(directory: Path, name: str, by) -> Path:
    (directory / name).unlink(missing_ok=True)
    by(directory / name)
    return directory


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    tokenizer = byte_tokenizer()
    config = tiny_config(vocab_size=len(tokenizer))
    return write_checkpoint(tmp_path / "model", config, tokenizer=tokenizer)


@pytest.mark.parametrize("by", ODD)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_in_the_place_of_a_model(checkpoint, name, by):
    replaced(checkpoint, name, by)
    with pytest.raises(CheckpointError, match=name):
        load_config(checkpoint)


@pytest.mark.parametrize("by", ODD)
def test_in_the_place_of_weights_to_hash(checkpoint, by):
    replaced(checkpoint, "model.safetensors", by)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        weights_hash(checkpoint)


@pytest.mark.parametrize("by", ODD)
@pytest.mark.parametrize(
    "name", ["model.safetensors.index.json", "model-00002-of-00003.safetensors"]
)
def test_in_the_place_of_shards(tmp_path, name, by):
    directory = write_checkpoint(tmp_path / "model", tiny_config(), shards=3)
    replaced(directory, name, by)
    with pytest.raises(CheckpointError, match=name):
        load(directory)


@pytest.mark.parametrize("by", ODD)
@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_in_the_place_of_an_adapter(tmp_path, checkpoint, name, by):
    base = load_config(write_checkpoint(tmp_path / "base", tiny_config()))
    directory = write_adapter(tmp_path / "adapter", adapter_tensors(tiny_config()))
    replaced(directory, name, by)
    with pytest.raises(CheckpointError, match=name):
        load_adapter_config(directory, base)


@pytest.mark.parametrize("by", ODD)
@pytest.mark.parametrize(
    "name",
    [
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json"),
        *("merges.txt", "added_tokens.json", "chat_template.jinja", "config.json"),
    ],
)
def test_in_the_place_of_a_tokenizer(checkpoint, name, by):
    replaced(checkpoint, name, by)
    with pytest.raises(CheckpointError, match=name):
        load_tokenizer(checkpoint)


@pytest.mark.parametrize("by", [pipe, link_out, circle, device])
def test_in_the_place_of_further_templates(checkpoint, by):
    (checkpoint / "additional_chat_templates").mkdir()
    by(checkpoint / "additional_chat_templates" / "rag.jinja")
    if by is link_out:  # one folder up is the checkpoint itself, within which links may lead
        os.replace(checkpoint / "outside", checkpoint.parent / "outside")
        link = checkpoint / "additional_chat_templates" / "rag.jinja"
        link.unlink()
        link.symlink_to(checkpoint.parent / "outside")
    with pytest.raises(CheckpointError, match="rag"):
        load_tokenizer(checkpoint)


def encoder(directory: Path) -> Encoder:
    model = SimpleNamespace(tokenizer=load_tokenizer(directory), directory=directory, config=None)
    return Encoder(model, "task")


@pytest.mark.parametrize("by", ODD)
def test_in_the_place_of_generation_config(checkpoint, by):
    tokenizer = load_tokenizer(checkpoint)
    replaced(checkpoint, "generation_config.json", by)
    with pytest.raises(CheckpointError, match="generation_config"):
        Encoder(SimpleNamespace(tokenizer=tokenizer, directory=checkpoint, config=None), "task")


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({}, ()),
        ({"eos_token_id": None}, ()),
        ({"eos_token_id": 7.0}, (7,)),
        ({"eos_token_id": [7, 8]}, (7, 8)),
    ],
)
def test_end_tokens_that_generation_config_names(checkpoint, given, ids):
    (checkpoint / "generation_config.json").write_text(json.dumps(given))
    found = encoder(checkpoint)
    assert found.eos_ids == tuple(dict.fromkeys((found.tokenizer.eos_token_id, *ids)))


@pytest.mark.parametrize("given", ["7", True, 1.5, -1, 2**70, {"a": 7}, ["7"], [[7]], [True]])
def test_end_tokens_that_are_none(checkpoint, given):
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": given}))
    with pytest.raises(
        CheckpointError, match=r"generation_config\.json: eos_token_id.* is .*; give"
    ):
        encoder(checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_max_length": "x"}, "model_max_length is 'x'; give a finite number"),
        ({"chat_template": 3}, "chat_template is 3; give a text"),
        ({"bos_token": ["<s>"]}, "bos_token is .*; give a text, or a mapping"),
        ({"added_tokens_decoder": {"1": 2}}, "added_tokens_decoder.1 is 2; give a mapping"),
        ({"tokenizer_class": 3}, "tokenizer_class is 3; give a text"),
        ({"padding_side": []}, "padding_side is .*; give a text"),
        ({"padding_side": "up"}, "cannot be read"),
    ],
)
def test_settings_of_a_tokenizer_that_it_stumbles_over(checkpoint, changes, message):
    path = checkpoint / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=message):
        load_tokenizer(checkpoint)


@pytest.mark.parametrize("vocabulary", [{}, {"a": 1, "b": 1}])
def test_a_vocabulary_without_its_unknown_token(checkpoint, vocabulary):
    written = json.loads((checkpoint / "tokenizer.json").read_text())
    written["model"] = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    written["pre_tokenizer"] = written["decoder"] = None
    written["added_tokens"] = []
    (checkpoint / "tokenizer.json").write_text(json.dumps(written))
    with pytest.raises(CheckpointError, match=r"model: (its|the) tokenizer cannot"):
        encoder(checkpoint)(["one"])


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '{"a": 1, "a": 2}', r'{"a": "\ud800"}']
)
def test_json_that_is_too_deep_or_ambiguous(checkpoint, name, text):
    (checkpoint / name).write_text(text)
    reader = load_config if name == "config.json" else load_tokenizer
    with pytest.raises(CheckpointError, match=f"{name}: (is nested|the key|the text)"):
        reader(checkpoint)


def test_links_within_the_checkpoint_are_followed(checkpoint):
    shutil.move(checkpoint / "tokenizer.json", checkpoint / "blob")
    (checkpoint / "tokenizer.json").symlink_to("blob")
    assert load_tokenizer(checkpoint) is not None
