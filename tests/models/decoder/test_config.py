import json
import math

import pytest
from transformers import AutoConfig

from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.variants import MODEL_TYPES
from evojax_merge.models.decoder.windows import window_fields
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
    ropes = theirs.rope_parameters
    window = getattr(theirs, "sliding_window", None)
    assert ours.num_kv_heads == theirs.num_key_value_heads
    assert ours.head_dim == (getattr(theirs, "head_dim", None) or 256 // 32)
    assert ours.max_position_embeddings == theirs.max_position_embeddings
    assert ours.rms_norm_eps == theirs.rms_norm_eps
    assert ours.hidden_act == (getattr(theirs, "hidden_activation", None) or theirs.hidden_act)
    assert ours.attention_soft_cap == getattr(theirs, "attn_logit_softcapping", None)
    assert ours.logit_soft_cap == getattr(theirs, "final_logit_softcapping", None)
    scalar = getattr(theirs, "query_pre_attn_scalar", None)
    assert ours.attention_scale == (None if scalar is None else scalar**-0.5)
    assert ours.tie_word_embeddings == theirs.tie_word_embeddings
    assert ours.rope.theta == ropes.get("full_attention", ropes)["rope_theta"]
    if ours.local_rope is not None:
        assert ours.local_rope.theta == ropes["sliding_attention"]["rope_theta"]
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
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention True"),
        ("gemma2", {"sliding_window": None}, "a gemma2 has a window in the layers 0, 2; give"),
        ("gemma3_text", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping 50.0 is not"),
        ("gemma3_text", {"rope_parameters": {"rope_theta": 1.0}}, "differs between layers; give"),
        ("gemma3_text", {"hidden_activation": "mish"}, "hidden_activation 'mish' is not supp"),
        ("phi3", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "is one of default, longr"),
        ("phi3", {"rope_scaling": {"type": "longrope"}}, "lacks short_factor, long_factor"),
        (
            "phi3",
            {"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1]}},
            "short_factor has 1 entries; give 4, one for each pair of the 8 channels",
        ),
        ("phi3", {"partial_rotary_factor": 0.4}, "turns 3 of the 8 channels"),
        (
            "phi3",
            {"sliding_window": 4, "layer_types": [FULL, SLIDING, SLIDING]},
            "full_attention for the layers 0, but the sliding_window of a phi3 holds for all",
        ),
    ],
)
def test_what_it_cannot_compute_is_refused(model_type, changes, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig.from_hf(tiny_config(model_type) | changes)


ODD = ["x", "2", True, [], {}, math.nan, math.inf, 2**70, 1.5, -1, 0]


@pytest.mark.parametrize("given", ODD, ids=repr)
@pytest.mark.parametrize(
    "key",
    [
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
        *("num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"),
    ],
)
def test_a_size_is_a_whole_number(key, given):
    with pytest.raises(
        ValueError, match=rf"^config\.json: {key} is .*; give a whole number from 1"
    ):
        DecoderConfig.from_hf(tiny_config() | {key: given})


@pytest.mark.parametrize(
    "given", ["x", "2", True, [], {}, math.nan, math.inf, 2**70, -1, 0], ids=repr
)
def test_an_epsilon_is_a_small_number_above_zero(given):
    with pytest.raises(ValueError, match=r"rms_norm_eps is .*; give a finite number from 1e-30"):
        DecoderConfig.from_hf(tiny_config(rms_norm_eps=given))


ROPES = {
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "yarn": {"factor": 2.0, "mscale": 1.0, "mscale_all_dim": 1.0, "beta_fast": 32, "beta_slow": 1},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
}


@pytest.mark.parametrize("given", ["x", True, [1], math.nan, math.inf, -2.0, 10**400], ids=repr)
@pytest.mark.parametrize(("kind", "key"), [(k, key) for k, keys in ROPES.items() for key in keys])
def test_a_number_of_rope_is_finite_and_not_negative(kind, key, given):
    rope = {"rope_type": kind, **ROPES[kind], key: given}
    for name in ("rope_scaling", "rope_parameters"):
        with pytest.raises(ValueError, match=rf"config\.json, {name}: {key} is .*; give a finite"):
            DecoderConfig.from_hf(tiny_config(**{name: rope}))


@pytest.mark.parametrize("given", ["x", "2", True, [], math.nan, math.inf, -1, 0, 1e300], ids=repr)
def test_a_base_of_rope_is_a_number_above_zero(given):
    for config in (
        tiny_config(rope_theta=given),
        tiny_config(rope_parameters={"rope_type": "default", "rope_theta": given}),
    ):
        with pytest.raises(ValueError, match=r"rope_theta is .*; give a finite number from 1e-30"):
            DecoderConfig.from_hf(config)


@pytest.mark.parametrize(
    "given", ["x", "2", 2.0, -1, True, math.nan, 2**70, "linear", [1]], ids=repr
)
def test_rope_is_a_mapping(given):
    with pytest.raises(
        ValueError, match=r"config\.json, rope_parameters: it is .*; give a mapping"
    ):
        DecoderConfig.from_hf(tiny_config(rope_parameters=given))


@pytest.mark.parametrize(
    ("model_type", "changes", "message"),
    [
        ("llama", {"rope_scaling": {"type": "linear", "factor": 0}}, "factor is 0; give a finite"),
        (
            "llama",
            {"rope_scaling": {"rope_type": "llama3", **ROPES["llama3"], "low_freq_factor": 4.0}},
            "low_freq_factor is 4 and high_freq_factor 4; the low one must be smaller",
        ),
        (
            "llama",
            {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}, "rope_theta": 1.0},
            "needs it above 1",
        ),
        ("llama", {"rope_scaling": {"rope_type": ["linear"]}}, "rope_type is .*; give a text"),
        ("llama", {"num_key_value_heads": 3}, "no multiple of the 3 num_key_value_heads"),
        ("llama", {"num_attention_heads": 6}, "no multiple of the 6 num_attention_heads"),
        ("llama", {"head_dim": 7}, "7 channels; rotary embeddings need an even number"),
        (
            "llama",
            {"head_dim": 2, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
            "needs a head_dim above 2",
        ),
        ("llama", {"hidden_act": ["silu"]}, "hidden_act is .*; give a text"),
        ("llama", {"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'; give true or false"),
        ("mistral", {"sliding_window": -1}, "sliding_window is -1; give a whole number from 1"),
        ("mistral", {"sliding_window": 1.5}, "sliding_window is 1.5; give a whole number"),
        ("qwen2", {"max_window_layers": "x"}, "max_window_layers is 'x'; give a whole number"),
        ("qwen2", {"layer_types": 3}, "layer_types is 3; give a list"),
        (
            "qwen2",
            {"layer_types": [["full_attention"]] * 3},
            r"layer_types\[0\] is .*; give a text",
        ),
        ("qwen2", {"use_sliding_window": 1}, "use_sliding_window is 1; give true or false"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(model_type, changes, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig.from_hf(tiny_config(model_type) | changes)


def test_numbers_may_be_written_otherwise():
    written = tiny_config("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1)
    floats = {k: float(v) if type(v) is int else v for k, v in written.items()}
    read = DecoderConfig.from_hf(floats)
    assert read == DecoderConfig.from_hf(written)
    assert all(type(size) is int for size in (read.num_layers, read.head_dim, read.windows[1]))
    silent = {"max_window_layers": None, "hidden_act": None, "rms_norm_eps": None}
    assert DecoderConfig.from_hf(written | silent).max_position_embeddings == 64


def test_every_problem_is_listed():
    changes = {"vocab_size": "x", "rms_norm_eps": -1}
    with pytest.raises(
        ValueError, match=r"(?s)^config\.json:\n  vocab_size is.*\n  rms_norm_eps is"
    ):
        DecoderConfig.from_hf(tiny_config() | changes)


WINDOWS = [(None, None, None), (4, 4, 4), (4, None, None), (None, 4, 4, 4), (None, None)]


@pytest.mark.parametrize("given", [{}, {"layer_types": [FULL] * 3}, {"max_window_layers": 1}])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("model_type", ["mistral", "qwen2", "qwen3", "gemma2", "gemma3_text"])
def test_windows_are_written_so_that_both_read_them(tmp_path, model_type, windows, window, given):
    hub = tiny_config(model_type, sliding_window=window, use_sliding_window=window is not None)
    hub |= {"layer_types": [FULL] * 3} if model_type.startswith("gemma") and not window else {}
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
        ("phi3", (None, 4, None), "layers 1: 4; layers 0, 2: None.*one window, in all layers$"),
        ("olmo2", (4, 4), "layers 0 to 1: 4"),
    ],
)
def test_windows_that_no_configuration_says_are_refused_by_layer(model_type, windows, layers):
    with pytest.raises(ValueError, match=layers):
        window_fields(tiny_config(model_type), windows)
