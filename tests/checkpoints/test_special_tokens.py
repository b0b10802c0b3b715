"""Ids in configuration files are those of the tokenizer beside them."""

import dataclasses
import json

import pytest
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from evojax_merge.checkpoints import CheckpointError, export, load
from evojax_merge.checkpoints.special_tokens import SpecialTokens, read_special_tokens, renumbered
from tests.checkpoints_factory import tiny_config, word_tokenizer, write_checkpoint

OLD = SpecialTokens({"<s>": 0, "</s>": 1, "<eot>": 2, "a": 3, "b": 4}, {"bos": 0, "eos": 1})
NEW = SpecialTokens({"<im_end>": 0, "<s>": 1, "</s>": 2, "<eot>": 3, "b": 4}, {"eos": 0})


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"bos_token_id": 0, "eos_token_id": 1}, {"bos_token_id": 1, "eos_token_id": 0}),
        ({"eos_token_id": [1, 2]}, {"eos_token_id": [0, 2, 3], "bos_token_id": None}),
        ({"pad_token_id": 3}, {"pad_token_id": None}),
        ({"pad_token_id": 4, "decoder_start_token_id": 2}, {"pad_token_id": 4}),
        ({"pad_token_id": -1}, {"pad_token_id": None}),
        ({"suppress_tokens": [3, 4]}, {"suppress_tokens": [4]}),
        ({"bad_words_ids": [[3, 4], [2, 4]]}, {"bad_words_ids": [[3, 4]]}),
        ({"max_length": 20}, {"max_length": 20, "bos_token_id": None, "pad_token_id": None}),
    ],
)
def test_of_another_tokenizer(given, found):
    result = renumbered(given, OLD, NEW)
    assert result["eos_token_id"] in (0, [0, 2, 3])
    assert {key: result[key] for key in found} == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"bos_token_id": 0, "eos_token_id": [1, 2]}, None),
        ({"eos_token_id": 2}, {"eos_token_id": 1}),
        ({"eos_token_id": None, "pad_token_id": -1}, {"eos_token_id": 1, "pad_token_id": -1}),
        ({"eos_token_id": [2]}, {"eos_token_id": [1, 2]}),
        ({"top_p": 0.9}, {"top_p": 0.9, "eos_token_id": 1}),
    ],
)
def test_of_the_same_tokenizer(given, found):
    assert renumbered(given, OLD, OLD) == (given if found is None else found)


def test_ids_that_nothing_explains_are_not_kept():
    found = renumbered({"bos_token_id": 7, "eos_token_id": [7, 8]}, None, NEW)
    assert found == {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": None}


def unigram():
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("a", -1.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.mark.parametrize("make", [lambda: word_tokenizer(["a", "b"]), unigram])
def test_read_from_files_as_transformers_reads_them(tmp_path, make):
    tokenizer = make()
    tokenizer.add_tokens(["more"])
    tokenizer.save_pretrained(tmp_path)
    assert read_special_tokens(tmp_path) == SpecialTokens.of(
        AutoTokenizer.from_pretrained(tmp_path)
    )
    older = json.loads((tmp_path / "tokenizer_config.json").read_text())
    moved = {key: older.pop(key) for key in ("bos_token", "eos_token")}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(older))
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({key: {"content": token, "lstrip": False} for key, token in moved.items()})
    )
    assert read_special_tokens(tmp_path).own["eos"] == tokenizer.eos_token_id


def test_a_directory_without_a_tokenizer(tmp_path):
    assert read_special_tokens(tmp_path) is None


@pytest.mark.parametrize("tree", [{}, {"model": 3}, {"model": {"vocab": [1, ["a"], [[], 2]]}}])
def test_what_is_no_vocabulary_names_no_token(tmp_path, tree):
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree | {"added_tokens": [3, {"id": 1}]}))
    assert read_special_tokens(tmp_path).own == {}


def test_an_export_of_a_model_that_forgot_its_end(tmp_path):
    """A fine-tune whose tokenizer has another end token than its ``config.json`` says."""
    tokenizer = word_tokenizer(["a", "<|im_end|>"])
    tokenizer.eos_token = "<|im_end|>"
    model = load(write_checkpoint(tmp_path / "in", tiny_config(), tokenizer=tokenizer))
    (tmp_path / "in" / "generation_config.json").write_text('{"eos_token_id": 2}')
    out = export(model, tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == 5
    assert GenerationConfig.from_pretrained(out).eos_token_id == 5


def test_an_export_with_the_tokenizer_of_another(tmp_path):
    model = load(
        write_checkpoint(tmp_path / "in", tiny_config(), tokenizer=word_tokenizer(["a", "b"]))
    )
    (tmp_path / "in" / "generation_config.json").write_text('{"eos_token_id": [2, 4]}')
    other = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "</s>": 1, "<s>": 2}, "a")),
        bos_token="<s>",
        eos_token="</s>",
    )
    other.save_pretrained(tmp_path / "other")
    out = export(
        dataclasses.replace(model, tokenizer_directory=tmp_path / "other"), tmp_path / "out"
    )
    written = json.loads((out / "config.json").read_text())
    ids = [written[f"{role}_token_id"] for role in ("bos", "eos", "pad")]
    assert ids == [2, 1, None]
    assert GenerationConfig.from_pretrained(out).eos_token_id == [1, 0]


def test_a_damaged_tokenizer_is_an_error_before_anything_is_written(tmp_path):
    model = load(write_checkpoint(tmp_path / "in", tiny_config(), tokenizer=word_tokenizer(["a"])))
    (tmp_path / "in" / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        export(model, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
