"""``model+adapter``: a LoRA adapter added to its model while that is merged."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evojax_merge.checkpoints import CheckpointError
from evojax_merge.exchange import ExchangeError
from tests.adapters_factory import adapter_config, adapter_tensors
from tests.checkpoints_factory import tiny_config
from tests.exchange.conftest import merged, plan_of, tensors_of

TARGETS = ("q_proj", "down_proj", "embed_tokens")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    directory = tmp_path_factory.mktemp("adapters") / "lora"
    directory.mkdir()
    config = adapter_config(target_modules=list(TARGETS), task_type="CAUSAL_LM")
    (directory / "adapter_config.json").write_text(json.dumps(config))
    save_file(
        adapter_tensors(tiny_config(), 7, targets=TARGETS),
        directory / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    return directory


def whole(base, adapter):
    """Base and adapter in one, by PEFT's formula."""
    tensors = tensors_of(base)
    factors = load_file(adapter / "adapter_model.safetensors")
    scale = 6 / 4
    for name, a in factors.items():
        module = name.removeprefix("base_model.model.")
        if "lora_A" in name:
            b = factors[name.replace("lora_A", "lora_B")]
            tensors[module.replace(".lora_A", "")] += scale * b @ a
        elif "lora_embedding_A" in name:
            b = factors[name.replace("_A", "_B")]
            tensors[module.replace(".lora_embedding_A", ".weight")] += scale * (b @ a).T
    return tensors


def file(models, adapter, method="linear", **more):
    adapted = {"model": f"{models['base']}+{adapter}", "parameters": {"weight": 0.7}}
    plain = {"model": models["a"], "parameters": {"weight": 0.3}}
    return {"merge_method": method, "models": [adapted, plain], "dtype": "float32"} | more


def test_the_adapter_is_added_to_its_model(models, adapter, tmp_path):
    found = merged(file(models, adapter), tmp_path / "out")
    wanted, other = whole(models["base"], adapter), tensors_of(models["a"])
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        np.testing.assert_allclose(
            found[name], 0.7 * tensor + 0.3 * other[name], rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_an_adapter_of_the_base_is_a_task_vector(models, adapter, tmp_path):
    found = merged(
        file(models, adapter, "task_arithmetic", base_model=models["base"]), tmp_path / "out"
    )
    base, more, other = (
        tensors_of(models["base"]),
        whole(models["base"], adapter),
        tensors_of(models["a"]),
    )
    for name, origin in base.items():
        want = origin + 0.7 * (more[name] - origin) + 0.3 * (other[name] - origin)
        np.testing.assert_allclose(found[name], want, rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["linear", "ties"])
def test_the_same_as_mergekit(models, adapter, tmp_path, method):
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    from tests.exchange.test_parity import agree

    tree = file(models, adapter, method)
    if method == "ties":
        tree["base_model"] = models["base"]
        tree["parameters"] = {"density": 0.5}
    options = MergeOptions(
        copy_tokenizer=False, quiet=True, lora_merge_cache=str(tmp_path / "cache")
    )
    run_merge(MergeConfiguration.model_validate(tree), str(tmp_path / "theirs"), options)
    agree(merged(tree, tmp_path / "ours"), tensors_of(tmp_path / "theirs"), 2e-6)


def test_what_is_no_adapter_is_refused(models, adapter, tmp_path):
    with pytest.raises(ExchangeError, match="is no LoRA adapter"):
        plan_of(file(models, models["b"]))
    with pytest.raises(CheckpointError, match="nowhere"):
        plan_of(file(models, tmp_path / "nowhere"))


def test_an_adapter_that_is_not_finite_leaves_nothing(models, adapter, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    next(iter(tensors.values())).flat[0] = np.nan
    save_file(tensors, broken / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="elements are NaN or infinite"):
        merged(file(models, broken), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]
