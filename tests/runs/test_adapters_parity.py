"""The same adapters merged by PEFT."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from evojax_merge import api
from evojax_merge.checkpoints import export
from tests.checkpoints_factory import tiny_config, write_checkpoint
from tests.runs.test_adapters import recipe

pytestmark = pytest.mark.parity

SETTINGS = [
    {"target_modules": ["q_proj", "v_proj"]},
    {"target_modules": "all-linear", "r": 3, "lora_alpha": 7, "use_rslora": True},
    {
        "target_modules": ["q_proj", "down_proj", "embed_tokens", "lm_head"],
        "rank_pattern": {"layers.1.self_attn.q_proj": 2, r"layers\.\d\.mlp\.down_proj": 5},
        "alpha_pattern": {"down_proj": 3, "embed_tokens": 9},
    },
    {"target_modules": ["o_proj"], "layers_to_transform": [1]},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s))
def test_weight_one_is_merge_and_unload(settings, tmp_path):
    peft = pytest.importorskip("peft", reason="needs peft")
    from transformers import AutoModelForCausalLM

    base = write_checkpoint(tmp_path / "base", tiny_config(num_hidden_layers=2))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0.0, 0.2, generator=generator)
    adapted.save_pretrained(tmp_path / "adapter")
    theirs = adapted.merge_and_unload().state_dict()

    given = recipe(str(base), [str(tmp_path / "adapter")], [1.0], "task_arithmetic")
    export(api.merge(given), tmp_path / "merged")
    ours = load_file(tmp_path / "merged" / "model.safetensors")
    original = load_file(base / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor, theirs[name].numpy(), rtol=0, atol=1e-6, err_msg=name)
    assert any(not np.array_equal(ours[name], original[name]) for name in ours)
