"""What is taken to fit is no more than compilers say for programs in docs/results/compiled.md."""

import jax
import numpy as np
import pytest

from evojax_merge.measuring import device_memory as module
from evojax_merge.measuring.device_memory import candidates_that_fit, room_for_work, room_of
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


@pytest.fixture
def device(monkeypatch):
    """A device of some platform and memory."""

    def make(platform, limit):
        (own, *_) = jax.devices()
        monkeypatch.setitem(module._TAKEN, own.platform, module._TAKEN[platform])
        monkeypatch.setattr(module, "free_bytes", lambda device: limit)
        return own

    return make


def work(hf_config, request, rows):
    config = DECODER.config_from_hf({**hf_config, "hidden_act": "silu"})
    batch = (np.zeros((rows, 256), np.int32), np.zeros(rows, np.int32))
    return DECODER.ability(request).bytes(config, request, batch, 2)


@pytest.mark.parametrize(("slots", "compiled"), [(None, 4.82), (32, 4.03)], ids=["rows", "slots"])
def test_several_candidates_on_a_gpu(device, slots, compiled):
    gpu, model = device("gpu", 10e9), 988_065_536
    request = Generate(1024, (2,), 0, slots=slots)
    count = candidates_that_fit(gpu, model, work(QWEN, request, 128 if slots else 32))
    assert 2 <= count <= room_of(gpu) / (model + compiled / 4 * 1e9)


def test_a_batch_on_a_tpu(device):
    model, compiled = 14_483_464_192, 6.84e9
    tpu = device("tpu", (model + compiled) / 0.7 - 1e8)
    assert work(MISTRAL, Loglikelihood(), 128) > room_for_work(tpu, model)
