"""LoRA adapters: read onto their base, or refused with everything that is wrong."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.checkpoints import (
    CheckpointError,
    load,
    load_adapter,
    load_adapter_config,
    load_config,
    weights_hash,
)
from evojax_merge.params.low_rank import LowRank, Unchanged, materialise
from evojax_merge.params.tree import flatten
from tests.adapters_factory import PREFIX, adapter_tensors, task_vectors, write_adapter
from tests.checkpoints_factory import random_tensors, tiny_config, write_checkpoint

CONFIG = tiny_config()
Q0 = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("base"), CONFIG)


def read(directory, base):
    return load_adapter(load_adapter_config(directory, load_config(base)), load(base))


def assert_adds(directory, base, expected):
    """The dense adapter is the base plus ``expected``, by tensor name."""
    checkpoint = load_config(base)
    model = read(directory, base)
    whole = flatten(materialise(load(base).params, model.params))
    tensors = random_tensors(checkpoint.hf_config)
    for name, slot in checkpoint.slots.items():
        leaf = np.asarray(whole[slot.path] if slot.layer is None else whole[slot.path][slot.layer])
        wanted = tensors[name] + expected.get(name, 0.0)
        np.testing.assert_allclose(leaf, wanted, rtol=0, atol=1e-6, err_msg=name)


def test_factors_are_read_and_nothing_else_takes_memory(base, tmp_path):
    tensors = adapter_tensors(CONFIG)
    model = read(write_adapter(tmp_path, tensors), base)
    leaves = flatten(model.params)
    adapted = {path for path, leaf in leaves.items() if isinstance(leaf, LowRank)}
    assert adapted == {"layers.self_attn.q_proj.weight", "layers.mlp.down_proj.weight"}
    assert all(isinstance(leaves[path], Unchanged) for path in leaves.keys() - adapted)
    dense = flatten(load(base).params)
    for path, leaf in leaves.items():
        assert (leaf.shape, leaf.size) == (dense[path].shape, dense[path].size)
    assert leaves["layers.self_attn.q_proj.weight"].b.shape == (3, 32, 4)
    assert model.directory == tmp_path


def test_what_is_added(base, tmp_path):
    tensors = adapter_tensors(CONFIG)
    assert_adds(write_adapter(tmp_path, tensors), base, task_vectors(tensors, lambda _: 6 / 4))


def test_rslora_divides_by_the_root_of_the_rank(base, tmp_path):
    tensors = adapter_tensors(CONFIG)
    directory = write_adapter(tmp_path, tensors, use_rslora=True)
    assert_adds(directory, base, task_vectors(tensors, lambda _: 6 / 2))


def test_ranks_and_alphas_may_differ_between_modules(base, tmp_path):
    first = "model.layers.1.self_attn.q_proj"
    tensors = adapter_tensors(CONFIG, ranks={first: 2})
    directory = write_adapter(
        tmp_path,
        tensors,
        rank_pattern={"layers.1.self_attn.q_proj": 2, "1.self_attn.q_proj": 9},
        alpha_pattern={r"layers\.\d+\.mlp\.down_proj": 10, "proj": 99, "v_proj": 5},
    )

    def scale(module):
        return (10 if "down_proj" in module else 6) / (2 if module == first else 4)

    assert_adds(directory, base, task_vectors(tensors, scale))


def test_layers_that_are_not_adapted_stay(base, tmp_path):
    tensors = adapter_tensors(CONFIG, layers=(1,))
    directory = write_adapter(tmp_path, tensors, layers_to_transform=[1])
    assert_adds(directory, base, task_vectors(tensors, lambda _: 6 / 4))


def test_token_tables_and_the_copies_that_peft_saves_with_them(base, tmp_path):
    targets = ("embed_tokens", "lm_head")
    tensors = adapter_tensors(CONFIG, targets=targets)
    original = random_tensors(CONFIG)
    copies = {
        PREFIX + "model.embed_tokens.base_layer.weight": original["model.embed_tokens.weight"],
        PREFIX + "lm_head.weight": original["lm_head.weight"],
    }
    directory = write_adapter(tmp_path / "a", tensors | copies, target_modules=list(targets))
    assert_adds(directory, base, task_vectors(tensors, lambda _: 6 / 4))
    trained = {name: value + 1 for name, value in copies.items()}
    directory = write_adapter(tmp_path / "b", tensors | trained, target_modules=list(targets))
    with pytest.raises(
        CheckpointError, match=r"(?s)is not the base's lm_head.*the base's model.embed"
    ):
        read(directory, base)


def test_half_precision_factors(base, tmp_path):
    tensors = adapter_tensors(CONFIG, dtype=jnp.bfloat16)
    assert_adds(write_adapter(tmp_path, tensors), base, task_vectors(tensors, lambda _: 6 / 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; only LORA"),
        ({"use_dora": True}, "use_dora is set: it is a DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is set"),
        ({"bias": "lora_only"}, "bias is 'lora_only'"),
        ({"lora_bias": True}, "lora_bias is set"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is set: its factors are of transposed"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base"),
        ({"use_something_new": 1}, "use_something_new is not known here"),
        ({"r": 0}, "r is 0; give a whole number from 1 to"),
        ({"lora_alpha": "six"}, "lora_alpha is 'six'"),
        ({"rank_pattern": {"(": 2}}, r"rank_pattern: '\(' is no regular expression"),
        ({"alpha_pattern": {"q_proj": -1}}, "alpha_pattern.q_proj is -1"),
        ({"rank_pattern": {"(a+)+b": 2}}, "repeats a group"),
        ({"rank_pattern": {".*.*.*.*q_proj": 2}}, "or more than 3 parts"),
        ({"rank_pattern": {"a{99999999999}": 2}}, "is no regular expression"),
        ({"r": 1.5}, "r is 1.5; give a whole number"),
        ({"r": True}, "r is True; give a whole number"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan; give a finite number from 1e-30"),
        ({"peft_type": ["LORA"]}, r"peft_type is \['LORA'\]"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes'; give true or false"),
        ({"target_modules": {"q_proj": 1}}, "target_modules is .*; give a list"),
        ({"rank_pattern": [2]}, r"rank_pattern is \[2\]"),
        ({"target_modules": [1]}, r"target_modules\[0\] is 1; give a text"),
        ({"use_dora": True, "bias": "all"}, "(?s)use_dora.*bias is 'all'"),
    ],
)
def test_what_cannot_be_merged_is_refused_by_name(base, tmp_path, changes, message):
    directory = write_adapter(tmp_path, adapter_tensors(CONFIG), **changes)
    with pytest.raises(CheckpointError, match=message):
        load_adapter_config(directory, load_config(base))


def test_every_tensor_that_does_not_fit_is_listed(base, tmp_path):
    tensors = adapter_tensors(CONFIG)
    del tensors[f"{PREFIX}{Q0}.lora_B.weight"]
    tensors[f"{PREFIX}model.layers.9.mlp.down_proj.lora_A.weight"] = np.zeros((4, 48), np.float32)
    tensors[f"{PREFIX}model.layers.1.mlp.down_proj.lora_A.weight"] = np.zeros((2, 48), np.float32)
    tensors[f"{PREFIX}model.layers.2.mlp.down_proj.lora_B.weight"] = np.zeros((9, 4), np.float32)
    tensors[f"{PREFIX}model.norm.lora_A.weight"] = np.zeros((4, 32), np.float32)
    tensors[f"{PREFIX}{Q0}.lora_magnitude_vector"] = np.zeros(32, np.float32)
    tensors[f"{PREFIX}lm_head.weight"] = np.zeros((65, 32), np.float32)
    directory = write_adapter(tmp_path, tensors, target_modules=["q_proj", "down_proj", "router"])
    with pytest.raises(CheckpointError) as caught:
        load_adapter_config(directory, load_config(base))
    for line in (
        f"missing: lora_B of {Q0}",
        "adapts model.layers.9.mlp.down_proj, but the base has no weight matrix",
        "1.mlp.down_proj.lora_A.weight is [2, 48], rank 4 and the base make it [4, 48]",
        "2.mlp.down_proj.lora_B.weight is [9, 4], rank 4 and the base make it [32, 4]",
        "adapts model.norm, but the base has no weight matrix",
        f"unexpected: {PREFIX}{Q0}.lora_magnitude_vector [32]",
        "lm_head.weight is [65, 32], in the base it is [64, 32]",
        "target_modules: router has no factors",
    ):
        assert line in str(caught.value)


def test_numbers_that_are_not_finite_are_listed(base, tmp_path):
    tensors = adapter_tensors(CONFIG)
    names = [f"{PREFIX}{Q0}.lora_{side}.weight" for side in "AB"]
    tensors[names[0]][0, :2] = np.nan
    tensors[names[1]][0, 0] = np.inf
    with pytest.raises(CheckpointError) as caught:
        read(write_adapter(tmp_path, tensors), base)
    assert f"{names[0]}: 2 of 128 elements are NaN or infinite" in str(caught.value)
    assert f"{names[1]}: 1 of 128 elements" in str(caught.value)


def test_integers_and_an_empty_file_are_refused(base, tmp_path):
    tensors = {name: value.astype(np.int8) for name, value in adapter_tensors(CONFIG).items()}
    with pytest.raises(CheckpointError, match=r"unsupported dtype: .* is I8"):
        read(write_adapter(tmp_path / "integers", tensors), base)
    with pytest.raises(CheckpointError, match="holds no factors"):
        read(write_adapter(tmp_path / "empty", {}, target_modules="all-linear"), base)


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_tied_tables_are_refused(tmp_path, target):
    tied = tiny_config(tie_word_embeddings=True)
    base = write_checkpoint(tmp_path / "base", tied)
    tensors = adapter_tensors(CONFIG, targets=(target,))
    directory = write_adapter(tmp_path / "adapter", tensors, target_modules=[target])
    with pytest.raises(CheckpointError, match=rf"adapts .*{target}.*tied.*cannot be merged"):
        load_adapter_config(directory, load_config(base))


def test_files_that_are_not_there(base, tmp_path):
    directory = write_adapter(tmp_path, adapter_tensors(CONFIG))
    (directory / "adapter_model.safetensors").rename(directory / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="pickled weights only"):
        load_adapter_config(directory, load_config(base))
    (directory / "adapter_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors: missing"):
        load_adapter_config(directory, load_config(base))
    with pytest.raises(CheckpointError, match=r"is a LoRA adapter, no model; list it in"):
        load_config(directory)


def test_the_hash_is_of_the_factors_and_their_scale(tmp_path):
    tensors = adapter_tensors(CONFIG)
    first = write_adapter(tmp_path / "first", tensors)
    moved = write_adapter(tmp_path / "moved", tensors, base_model_name_or_path="elsewhere")
    assert weights_hash(first) == weights_hash(moved)
    scaled = write_adapter(tmp_path / "scaled", tensors, lora_alpha=7)
    other = write_adapter(tmp_path / "other", adapter_tensors(CONFIG, seed=1))
    assert len({weights_hash(path) for path in (first, scaled, other)}) == 3


def test_a_directory_with_a_models_weights_is_that_model(base, tmp_path):
    write_checkpoint(tmp_path, CONFIG)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    assert load_config(tmp_path).family.name == "decoder"
