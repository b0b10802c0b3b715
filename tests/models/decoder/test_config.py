import json

import pytest
from transformers import AutoConfig

from evojax_merge.models.decoder.config import MODEL_TYPES, DecoderConfig, window_fields
from tests.checkpoints_factory import tiny_config

MINIMAL = {
    "vocab_size": 100,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 30,
    "num_attention_heads": 32,
}


FULL, SLIDING = "full_attention", "sliding_attention"


@pytest.mark.parametrize("use_window", [False, True])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_silence_means_what_transformers_assumes(model_type, use_window):
    hub = {"model_type": model_type, **MINIMAL}
    if model_type.startswith("qwen"):
        hub["use_sliding_window"] = use_window
    theirs = AutoConfig.for_model(**hub)
    ours = DecoderConfig.from_hf(hub)
    kinds = getattr(theirs, "layer_types", None) or ["sliding_attention"] * 30
    window = getattr(theirs, "sliding_window", None)
    assert ours.num_kv_heads == theirs.num_key_value_heads
    assert ours.head_dim == (getattr(theirs, "head_dim", None) or 256 // 32)
    assert ours.max_position_embeddings == theirs.max_position_embeddings
    assert ours.rms_norm_eps == theirs.rms_norm_eps
    assert ours.hidden_act == theirs.hidden_act
    assert ours.tie_word_embeddings == theirs.tie_word_embeddings
    assert ours.rope.theta == theirs.rope_parameters["rope_theta"]
    assert ours.windows == tuple(window if kind.startswith("slid") else None for kind in kinds)


def test_both_spellings_of_rope_read_the_same():
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    hub = tiny_config(rope_theta=5e5, rope_scaling={"rope_type": "llama3", **scaling})
    v5 = tiny_config(rope_parameters={"rope_theta": 5e5, "rope_type": "llama3", **scaling})
    assert DecoderConfig.from_hf(hub) == DecoderConfig.from_hf(v5)


@pytest.mark.parametrize(
    ("model_type", "changes", "message"),
    [
        ("llama", {"model_type": "gpt2"}, "model_type 'gpt2' is not a supported decoder"),
        ("llama", {"hidden_act": "mish"}, "hidden_act 'mish' is not supported"),
        ("llama", {"hidden_size": None}, "lacks hidden_size"),
        ("llama", {"rope_scaling": {"type": "longrope", "factor": 2.0}}, "longrope"),
        ("llama", {"rope_scaling": {"type": "linear"}}, "'linear' lacks factor"),
        ("llama", {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "for all layers"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["chunked"] * 3},
            "layer_types must name",
        ),
        (
            "qwen3",
            {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["full_attention"]},
            "each of the 3 layers",
        ),
        ("llama", {"layer_types": ["full_attention"]}, "each of the 3 layers"),
        (
            "llama",
            {"layer_types": [SLIDING, FULL, SLIDING], "sliding_window": 4},
            "the layers 0, 2, but this llama has no sliding window; name full_attention$",
        ),
        (
            "mistral",
            {"layer_types": [FULL, SLIDING, SLIDING]},
            "the layers 1 to 2, but this mistral has no sliding window",
        ),
        (
            "qwen3",
            {"layer_types": [FULL, SLIDING, FULL], "sliding_window": 4},
            "the layers 1, but .* and use_sliding_window: true",
        ),
    ],
)
def test_what_it_cannot_compute_is_refused(model_type, changes, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig.from_hf(tiny_config(model_type) | changes)


WINDOWS = [(None, None, None), (4, 4, 4), (4, None, None), (None, 4, 4, 4), (None, None)]


@pytest.mark.parametrize("given", [{}, {"layer_types": [FULL] * 3}, {"max_window_layers": 1}])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("model_type", ["mistral", "qwen2", "qwen3"])
def test_windows_are_written_so_that_both_read_them(tmp_path, model_type, windows, window, given):
    hub = tiny_config(model_type, sliding_window=window, use_sliding_window=window is not None)
    hub |= given
    hub |= {"num_hidden_layers": len(windows)} | window_fields(hub, windows)
    assert DecoderConfig.from_hf(hub).windows == windows
    (tmp_path / "config.json").write_text(json.dumps(hub))
    theirs = AutoConfig.from_pretrained(tmp_path)
    size = theirs.sliding_window
    kinds = getattr(theirs, "layer_types", [SLIDING if size else FULL] * len(windows))
    assert tuple(size if kind == SLIDING else None for kind in kinds) == windows


def test_what_is_said_already_is_left_as_it_is():
    hub = tiny_config("qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=2)
    assert window_fields(hub, (None, None, 4, 4, 4)) == {}
    assert window_fields(tiny_config(), (None,) * 5) == {}


@pytest.mark.parametrize(
    ("model_type", "windows", "layers"),
    [
        ("qwen2", (4, 4, 8, None), "layers 0 to 1: 4; layers 2: 8; layers 3: None"),
        ("mistral", (8, 4, 8), "layers 1: 4; layers 0, 2: 8"),
        ("llama", (None, 4, None), "layers 1: 4; layers 0, 2: None"),
    ],
)
def test_windows_that_no_configuration_says_are_refused_by_layer(model_type, windows, layers):
    with pytest.raises(ValueError, match=layers):
        window_fields(tiny_config(model_type), windows)
