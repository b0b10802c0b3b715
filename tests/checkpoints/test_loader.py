import subprocess
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest

from evojax_merge.checkpoints import CheckpointError, export, load, load_config
from evojax_merge.models import family_of
from evojax_merge.params.tree import flatten
from tests.checkpoints_factory import (
    mlp_config,
    random_tensors,
    tiny_config,
    word_tokenizer,
    write_checkpoint,
)
from tests.processes import environment

CONFIGS = [
    tiny_config(attention_bias=True, mlp_bias=True),
    tiny_config("mistral"),
    tiny_config("qwen2", tie_word_embeddings=True),
    tiny_config("qwen3"),
    mlp_config(8, 4, 3),
]
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def assert_holds(model, tensors, dtype):
    leaves = flatten(model.params)
    for name, slot in model.family.layout(model.config).slots.items():
        leaf = leaves[slot.path]
        part = np.asarray(leaf if slot.layer is None else leaf[slot.layer])
        assert isinstance(leaf, jax.Array)
        assert part.dtype == dtype
        np.testing.assert_array_equal(part, tensors[name].astype(dtype))


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("hf_config", CONFIGS, ids=lambda config: config["model_type"])
def test_every_tensor_arrives_bit_for_bit(tmp_path, hf_config, dtype, shards):
    tensors = random_tensors(hf_config, dtype=dtype)
    model = load(write_checkpoint(tmp_path, hf_config, tensors=tensors, shards=shards))
    assert model.dtype == dtype
    assert model.hf_config == hf_config
    assert model.directory == tmp_path
    assert model.tokenizer is None
    assert_holds(model, tensors, dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", ml_dtypes.bfloat16])
def test_dtype_can_be_asked_for(tmp_path, dtype):
    tensors = random_tensors(tiny_config())
    model = load(write_checkpoint(tmp_path, tiny_config(), tensors=tensors), dtype)
    assert_holds(model, tensors, np.dtype(dtype))


def test_mixed_dtypes_become_float32_which_holds_each(tmp_path):
    tensors = random_tensors(tiny_config(), dtype=ml_dtypes.bfloat16)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].astype(np.float16)
    assert_holds(load(write_checkpoint(tmp_path, tiny_config(), tensors=tensors)), tensors, "f4")


def test_tokenizer_is_the_fast_one_of_the_directory(tmp_path):
    write_checkpoint(tmp_path, tiny_config(), tokenizer=word_tokenizer(["one", "two"]))
    tokenizer = load(tmp_path).tokenizer
    assert tokenizer is not None
    assert tokenizer.is_fast
    assert tokenizer("two one")["input_ids"] == [5, 4]


def test_damaged_tokenizer_is_an_error(tmp_path):
    write_checkpoint(tmp_path, tiny_config())
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not valid JSON"):
        load(tmp_path)


def test_all_that_does_not_fit_is_in_one_error(tmp_path):
    tensors = random_tensors(tiny_config())
    del tensors["model.layers.1.mlp.up_proj.weight"]
    tensors["model.layers.3.mlp.up_proj.weight"] = np.zeros((48, 32), np.float32)
    tensors["model.norm.weight"] = np.zeros(31, np.float32)
    tensors["model.layers.0.self_attn.q_proj.weight"] = np.zeros((32, 32), np.int8)
    with pytest.raises(CheckpointError) as caught:
        load(write_checkpoint(tmp_path, tiny_config(), tensors=tensors))
    first, *problems = (line.strip() for line in str(caught.value).splitlines())
    assert first == f"{tmp_path}: weights do not fit config.json:"
    assert sorted(problems) == [
        "missing: model.layers.1.mlp.up_proj.weight [48, 32]",
        "unexpected: model.layers.3.mlp.up_proj.weight [48, 32] in model.safetensors",
        "unsupported dtype: model.layers.0.self_attn.q_proj.weight is I8, "
        "supported are F32, F16, BF16",
        "wrong shape: model.norm.weight is [31], config.json makes it [32]",
    ]


def test_buffers_are_ignored_by_name(tmp_path):
    tensors = random_tensors(tiny_config())
    buffer = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}
    write_checkpoint(tmp_path, tiny_config(), tensors=tensors | buffer)
    assert_holds(load(tmp_path), tensors, np.float32)


def test_tied_checkpoint_that_repeats_its_embedding_is_accepted(tmp_path):
    hf_config = tiny_config(tie_word_embeddings=True)
    tensors = random_tensors(hf_config)
    write_checkpoint(tmp_path, hf_config, tensors=tensors | {HEAD: tensors[EMBEDDING].copy()})
    model = load(tmp_path)
    assert "lm_head" not in model.params
    assert_holds(model, tensors, np.float32)


@pytest.mark.parametrize("shards", [1, 3])
def test_tied_checkpoint_with_another_head_keeps_both(tmp_path, shards):
    hf_config = tiny_config(tie_word_embeddings=True)
    tensors = random_tensors(hf_config)
    tensors[HEAD] = tensors[EMBEDDING].copy()
    tensors[HEAD][-1, -1] += 1
    write_checkpoint(tmp_path / "in", hf_config, tensors=tensors, shards=shards)
    with pytest.warns(UserWarning, match="both are kept, as transformers does"):
        model = load(tmp_path / "in")
    assert not model.config.tie_word_embeddings
    assert_holds(model, tensors, np.float32)
    again = load(export(model, tmp_path / "out"))
    assert again.hf_config["tie_word_embeddings"] is False
    assert_holds(again, tensors, np.float32)


def test_a_copy_in_another_dtype_is_a_copy(tmp_path):
    hf_config = tiny_config(tie_word_embeddings=True)
    tensors = random_tensors(hf_config, dtype=ml_dtypes.bfloat16)
    tensors[HEAD] = tensors[EMBEDDING].astype(np.float32)
    write_checkpoint(tmp_path, hf_config, tensors=tensors)
    assert load(tmp_path).config.tie_word_embeddings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": None}, "must name the type of the model"),
        ({"quantization_config": {"bits": 4}}, "is quantised"),
        ({"num_hidden_layers": None}, "lacks num_hidden_layers"),
    ],
)
def test_configuration_that_no_family_computes(tmp_path, changes, message):
    write_checkpoint(tmp_path, tiny_config() | changes, tensors=random_tensors(tiny_config()))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_config(tmp_path)
    assert str(tmp_path) in str(caught.value)


MEMORY = """
import sys
from pathlib import Path
import jax
from evojax_merge.checkpoints import load

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024

load(sys.argv[1])  # whatever is imported or compiled on first use
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = status("VmRSS")
model = load(sys.argv[2])
size = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
print(size, status("VmHWM") - before - size)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 4])
def test_loading_needs_memory_for_one_tensor_besides_the_parameters(tmp_path, shards):
    large = tiny_config(
        vocab_size=16_384, hidden_size=512, intermediate_size=2048, num_hidden_layers=10
    )
    family = family_of(large)
    tensors = {
        name: np.full(slot.shape, 0.5, ml_dtypes.bfloat16)
        for name, slot in family.layout(family.config_from_hf(large)).slots.items()
    }
    write_checkpoint(tmp_path / "small", tiny_config())
    write_checkpoint(tmp_path / "large", large, tensors=tensors, shards=shards)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "small", tmp_path / "large"],
        cwd=Path(__file__).parents[2],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    size, extra = map(int, done.stdout.split())
    largest = max(tensor.nbytes for tensor in tensors.values())
    print(f"parameters {size:,} B, largest tensor {largest:,} B, extra memory {extra:,} B")
    assert size == sum(tensor.nbytes for tensor in tensors.values())
    assert extra <= largest + 4_000_000
