"""What is taken to fit is no more than compilers say for programs in docs/results/compiled.md."""

import numpy as np
import pytest

from evojax_merge.measuring.device_memory import Memory
from evojax_merge.models.family import DECODER
from evojax_merge.models.request import Generate, Loglikelihood

QWEN = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
}
MISTRAL = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32_000,
}


def work(hf_config, request, rows):
    config = DECODER.config_from_hf({**hf_config, "hidden_act": "silu"})
    batch = (np.zeros((rows, 256), np.int32), np.zeros(rows, np.int32))
    return DECODER.ability(request).bytes(config, request, batch, 2)


@pytest.mark.parametrize(("slots", "compiled"), [(None, 4.82), (32, 4.03)], ids=["rows", "slots"])
def test_several_candidates_on_a_gpu(slots, compiled):
    gpu, model = Memory("gpu", int(10e9)), 988_065_536
    request = Generate(1024, (2,), 0, slots=slots)
    count = gpu.candidates(model, work(QWEN, request, 128 if slots else 32))
    assert 2 <= count <= gpu.room / (model + compiled / 4 * 1e9)


def test_a_batch_on_a_tpu():
    model, compiled = 14_483_464_192, 6.84e9
    tpu = Memory("tpu", int((model + compiled) / 0.7 - 1e8))
    assert work(MISTRAL, Loglikelihood(), 128) > tpu.room_for_work(model)
