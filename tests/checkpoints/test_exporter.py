import dataclasses
import json
import stat

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from evojax_merge.checkpoints import CheckpointError, align_vocabularies, export, load
from tests.checkpoints_factory import (
    VOCAB,
    mlp_config,
    random_tensors,
    tiny_config,
    word_tokenizer,
    write_checkpoint,
)
from tests.slow import slow

CONFIGS = [
    tiny_config(attention_bias=True, mlp_bias=True),
    tiny_config("mistral", sliding_window=4),
    tiny_config("qwen2", tie_word_embeddings=True),
    tiny_config("qwen3"),
    tiny_config("gemma3_text", tie_word_embeddings=True),
    tiny_config("phi3"),
]
WORDS = [f"word{number}" for number in range(60)]
GENERATION = {"max_new_tokens": 7, "eos_token_id": 2}


@pytest.fixture
def source(tmp_path):
    directory = write_checkpoint(
        tmp_path / "source", tiny_config(), tokenizer=word_tokenizer(WORDS)
    )
    (directory / "generation_config.json").write_text(json.dumps(GENERATION))
    (directory / "tokenizer.model").write_bytes(b"\x00\x01")
    (directory / "optimizer.bin").write_bytes(b"not carried")
    return directory


def assert_same_params(first, second):
    assert jax.tree.structure(first.params) == jax.tree.structure(second.params)
    for ours, theirs in zip(
        jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def torch_logits(directory):
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager")
    tokens = torch.arange(3, 15)[None] % VOCAB
    with torch.no_grad():
        return model(tokens).logits, model.dtype


@pytest.mark.few(6)
@pytest.mark.parametrize("max_shard_size", [20_000, *slow(5_000_000_000)])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("hf_config", CONFIGS, ids=lambda config: config["model_type"])
def test_round_trip_to_the_bit_here_and_in_transformers(tmp_path, hf_config, dtype, max_shard_size):
    before = load(write_checkpoint(tmp_path / "before", hf_config, dtype=dtype))
    export(before, tmp_path / "after", max_shard_size=max_shard_size)
    after = load(tmp_path / "after")
    assert after.config == before.config
    assert_same_params(before, after)
    (expected, _), (logits, torch_dtype) = map(torch_logits, (before.directory, after.directory))
    assert torch_dtype == (torch.float32 if dtype is np.float32 else torch.bfloat16)
    torch.testing.assert_close(logits, expected.to(logits.dtype), rtol=0, atol=0)


def test_shards_hold_no_more_than_asked_and_the_index_names_all(tmp_path, source):
    model = load(source)
    directory = export(model, tmp_path / "out", max_shard_size=20_000)
    files = sorted(directory.glob("model-*-of-*.safetensors"))
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    assert len(files) > 3
    assert not (directory / "model.safetensors").exists()
    assert index["weight_map"].keys() == model.family.layout(model.config).slots.keys()
    assert index["metadata"]["total_size"] == sum(
        leaf.nbytes for leaf in jax.tree.leaves(model.params)
    )
    for file in files:
        assert file.stat().st_size < 20_000 + 5_000  # the header comes on top
        with safe_open(file, "numpy") as shard:
            assert shard.metadata() == {"format": "pt"}


def test_a_tensor_larger_than_a_shard_gets_one_to_itself(tmp_path, source):
    directory = export(load(source), tmp_path / "out", max_shard_size=1)
    assert len(list(directory.glob("*.safetensors"))) == 30
    assert_same_params(load(directory), load(source))


def test_configuration_tokenizer_and_generation_come_along(tmp_path, source):
    directory = export(load(source, jnp.bfloat16), tmp_path / "out")
    assert json.loads((directory / "generation_config.json").read_text()) == GENERATION
    assert (directory / "tokenizer.model").read_bytes() == b"\x00\x01"
    assert not (directory / "optimizer.bin").exists()
    (directory / "tokenizer.model").unlink()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert tokenizer.get_vocab() == load(source).tokenizer.get_vocab()
    written = json.loads((directory / "config.json").read_text())
    assert written == tiny_config(dtype="bfloat16")
    assert AutoConfig.from_pretrained(directory).dtype == torch.bfloat16


def test_the_older_spelling_of_dtype_is_kept(tmp_path):
    hf_config = tiny_config(torch_dtype="bfloat16", _name_or_path="/x", auto_map={"A": "b.py"})
    model = load(write_checkpoint(tmp_path / "in", hf_config))
    written = json.loads((export(model, tmp_path / "out") / "config.json").read_text())
    assert written == tiny_config(torch_dtype="float32")


def test_an_aligned_source_is_exported_with_the_tokenizer_of_its_rows(tmp_path, source):
    base = load(source)
    other = write_checkpoint(
        tmp_path / "other", tiny_config(vocab_size=70), tokenizer=word_tokenizer(WORDS[::-1])
    )
    (aligned,), _ = align_vocabularies(base, [load(other)])
    after = load(export(aligned, tmp_path / "out"))
    assert after.tokenizer.get_vocab() == base.tokenizer.get_vocab()
    assert after.hf_config["vocab_size"] == 64
    assert_same_params(aligned, after)


def test_classifier_round_trip(tmp_path):
    model = load(write_checkpoint(tmp_path / "in", mlp_config(8, 4, 3)))
    after = load(export(model, tmp_path / "out"))
    assert after.config == model.config
    assert_same_params(model, after)


def test_new_parameters_are_what_is_written(tmp_path, source):
    model = load(source)
    doubled = dataclasses.replace(model, params=jax.tree.map(lambda leaf: leaf * 2, model.params))
    assert_same_params(load(export(doubled, tmp_path / "out")), doubled)


def test_extra_files_and_permissions(tmp_path, source):
    directory = export(load(source), tmp_path / "a" / "b", extra={"recipe.yaml": "seed: 1\n"})
    assert directory == tmp_path / "a" / "b"
    assert (directory / "recipe.yaml").read_text() == "seed: 1\n"
    plain = tmp_path / "plain"
    plain.mkdir()
    assert stat.S_IMODE(directory.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_directory_that_holds_something_is_left_alone(tmp_path, source):
    target = tmp_path / "out"
    target.mkdir()
    export(load(source), target)  # an empty one is fine
    (target / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="is not empty; choose another, or set overwrite"):
        export(load(source), target)
    assert (target / "notes.txt").read_text() == "mine"
    export(load(source), target, overwrite=True)
    assert not (target / "notes.txt").exists()
    assert_same_params(load(target), load(source))
    with pytest.raises(CheckpointError, match="is a file"):
        export(load(source), target / "config.json")


@pytest.mark.parametrize("end", [".ckpt", ".bin"])
def test_no_export_has_the_name_of_a_pickled_file(end, tmp_path, source):
    with pytest.raises(
        CheckpointError, match=r"pickled files are not written; .*NAME\.safetensors"
    ):
        export(load(source), tmp_path / f"merged{end}")
    assert not list(tmp_path.glob("merged*"))


@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_leaves_no_trace(tmp_path, source, monkeypatch, existing):
    """As when the disk is full: what was there stays, and nothing half-written appears."""
    target = tmp_path / "out"
    model = load(source)
    if existing:
        export(model, target)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        export(model, target, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"][not existing :]
    if existing:
        assert_same_params(load(target), model)


def test_a_model_may_be_exported_onto_its_own_directory(tmp_path, source):
    model = load(source)
    export(model, source, overwrite=True)
    assert_same_params(load(source), model)
    assert (source / "tokenizer.json").exists()


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_numbers_that_are_not_finite_are_named_and_nothing_is_left(tmp_path, source, number):
    model = load(source)
    broken = jax.tree.map(lambda leaf: jnp.full_like(leaf, number), model.params)
    with pytest.raises(CheckpointError, match=r"\.weight: holds NaN, or numbers that float32"):
        export(dataclasses.replace(model, params=broken), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_parameters_that_do_not_fit_are_listed(tmp_path, source):
    model = load(source)
    params = {
        **model.params,
        "norm": {"weight": jnp.ones(31)},
        "lm_head": {"weight": jnp.ones((64, 32), jnp.int32)},
        "more": {"weight": jnp.ones(1)},
    }
    del params["embed_tokens"]
    with pytest.raises(CheckpointError) as caught:
        export(dataclasses.replace(model, params=params), tmp_path / "out")
    message = str(caught.value)
    assert "missing: embed_tokens.weight" in message
    assert "unexpected: more.weight" in message
    assert "norm.weight is (31,), the model has (32,)" in message
    assert "lm_head.weight is int32" in message
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_transformers_comes_back_to_it_unchanged(tmp_path):
    tensors = random_tensors(tiny_config())
    write_checkpoint(tmp_path / "in", tiny_config(), tensors=tensors)
    AutoModelForCausalLM.from_pretrained(tmp_path / "in").save_pretrained(tmp_path / "torch")
    export(load(tmp_path / "torch"), tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "numpy") as file:
        assert file.keys() == sorted(tensors)
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(file.get_tensor(name), tensor)


def test_a_directory_with_folders_is_never_replaced(source):
    """Whoever names a folder above the sources would lose them."""
    model = load(source)
    with pytest.raises(CheckpointError, match="holds the folder source, which no export has"):
        export(model, source.parent, overwrite=True)
    assert (source / "config.json").exists()
    out = export(model, source.parent / "out")
    (out / "additional_chat_templates").mkdir()
    export(model, out, overwrite=True)
    assert not (out / "additional_chat_templates").exists()
