"""Logits against transformers' torch models, from the same checkpoint directory."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from evojax_merge.checkpoints import load
from evojax_merge.models.decoder import cache
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.models.decoder.variants import MODEL_TYPES
from tests.checkpoints_factory import VOCAB, tiny_config, write_checkpoint
from tests.slow import slow

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
MIXED = ["full_attention", "sliding_attention", "full_attention"]
LONGROPE = {"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1.0, 2.0, 4.0, 9.0]}

CONFIGS = {
    "llama2": tiny_config(num_key_value_heads=4),
    "llama2-old": tiny_config(num_key_value_heads=None, rms_norm_eps=1e-5),
    "llama-gqa": tiny_config(num_key_value_heads=2, rope_theta=1e6),
    "llama-mqa": tiny_config(num_key_value_heads=1),
    "llama-head-dim": tiny_config(head_dim=16),
    "llama-attention-bias": tiny_config(attention_bias=True),
    "llama-mlp-bias": tiny_config(mlp_bias=True),
    "llama-tied": tiny_config(tie_word_embeddings=True),
    "llama-gelu": tiny_config(hidden_act="gelu"),
    "llama-gelu-tanh": tiny_config(hidden_act="gelu_pytorch_tanh"),
    "llama-gelu-new": tiny_config(hidden_act="gelu_new"),
    "llama-relu": tiny_config(hidden_act="relu"),
    "llama3-hub": tiny_config(rope_theta=5e5, rope_scaling=LLAMA3),
    "llama3-v5": tiny_config(rope_parameters={"rope_theta": 5e5, **LLAMA3}),
    "llama-linear-hub": tiny_config(rope_scaling={"type": "linear", "factor": 4.0}),
    "llama-linear-v5": tiny_config(
        rope_parameters={"rope_theta": 1e4, "rope_type": "linear", "factor": 4.0}
    ),
    "llama-dynamic-hub": tiny_config(
        max_position_embeddings=8, rope_scaling={"type": "dynamic", "factor": 2.0}
    ),
    "llama-dynamic-v5": tiny_config(
        max_position_embeddings=8,
        rope_parameters={"rope_theta": 1e4, "rope_type": "dynamic", "factor": 2.0},
    ),
    "llama-dynamic-unreached": tiny_config(rope_scaling={"type": "dynamic", "factor": 2.0}),
    "llama-yarn-factor": tiny_config(rope_scaling={**YARN, "attention_factor": 1.3}),
    "llama-yarn-mscale": tiny_config(
        rope_scaling={**YARN, "mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 16}
    ),
    "llama-yarn-implicit-factor": tiny_config(
        max_position_embeddings=128, rope_scaling={**YARN, "truncate": False}
    ),
    "llama-all": tiny_config(
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
        head_dim=12,
        rope_theta=5e5,
        rope_scaling=LLAMA3,
    ),
    "mistral": tiny_config("mistral"),
    "mistral-window": tiny_config("mistral", sliding_window=4, head_dim=16),
    "mistral-tied": tiny_config("mistral", sliding_window=4, tie_word_embeddings=True),
    "mistral-v5": tiny_config(
        "mistral", sliding_window=5, rope_parameters={"rope_theta": 1e6, "rope_type": "default"}
    ),
    "qwen2": tiny_config("qwen2", rope_theta=1e6),
    "qwen2-window-off": tiny_config("qwen2", sliding_window=4, use_sliding_window=False),
    "qwen2-window-hub": tiny_config(
        "qwen2", sliding_window=4, use_sliding_window=True, max_window_layers=1
    ),
    "qwen2-window-v5": tiny_config(
        "qwen2", sliding_window=4, use_sliding_window=True, layer_types=MIXED
    ),
    "qwen2-yarn": tiny_config(
        "qwen2",
        rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    ),
    "qwen2-tied": tiny_config("qwen2", tie_word_embeddings=True),
    "qwen3": tiny_config("qwen3"),
    "qwen3-head-dim": tiny_config("qwen3", head_dim=24, tie_word_embeddings=True),
    "qwen3-bias": tiny_config("qwen3", attention_bias=True),
    "qwen3-window": tiny_config(
        "qwen3", sliding_window=4, use_sliding_window=True, max_window_layers=2
    ),
    "qwen3-window-v5": tiny_config(
        "qwen3",
        sliding_window=4,
        use_sliding_window=True,
        layer_types=MIXED,
        rope_parameters={"rope_theta": 1e6, **YARN},
    ),
    # Caps that change something, as its default ones hardly do of numbers near 1.
    "gemma2": tiny_config("gemma2", attn_logit_softcapping=1.5, final_logit_softcapping=2.0),
    "gemma2-silent-caps": tiny_config("gemma2", attention_bias=True, hidden_activation="silu"),
    "gemma2-v5": tiny_config(
        "gemma2",
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        layer_types=MIXED,
        tie_word_embeddings=True,
        rope_parameters={"rope_theta": 1e6, "rope_type": "linear", "factor": 4.0},
    ),
    "gemma3-hub": tiny_config(
        "gemma3_text",
        rope_theta=1e5,
        rope_local_base_freq=100.0,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
        tie_word_embeddings=True,
    ),
    "gemma3-silent": tiny_config("gemma3_text", final_logit_softcapping=2.0, attention_bias=True),
    "gemma3-v5": tiny_config(
        "gemma3_text",
        layer_types=MIXED,
        rope_parameters={
            "full_attention": {"rope_theta": 1e5, **YARN},
            "sliding_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 50.0},
        },
    ),
    "phi3": tiny_config("phi3", num_key_value_heads=None),
    "phi3-window-tied": tiny_config("phi3", sliding_window=4, tie_word_embeddings=True),
    "phi3-longrope": tiny_config(
        "phi3",
        original_max_position_embeddings=32,
        rope_scaling={"type": "longrope", **LONGROPE},
    ),
    "phi3-partial": tiny_config(
        "phi3",
        original_max_position_embeddings=32,
        partial_rotary_factor=0.75,
        rope_scaling={
            "type": "longrope",
            "short_factor": [1.0, 1.1, 1.2],
            "long_factor": [1.0, 2.0, 4.0],
            "attention_factor": 1.1,
        },
    ),
    "olmo2": tiny_config("olmo2", rms_norm_eps=1e-5),
    "olmo2-bias": tiny_config(
        "olmo2", attention_bias=True, tie_word_embeddings=True, rope_scaling={**YARN}
    ),
}

LENGTHS = np.array([12, 7, 1, 10])


@pytest.fixture(autouse=True)
def scanned(monkeypatch):
    """As deep decoders run; `test_modeling` shows that shallow ones compute the same."""
    monkeypatch.setattr(cache, "WRITTEN_OUT", 0)


@pytest.fixture
def batch():
    tokens = np.random.default_rng(1).integers(3, VOCAB, (len(LENGTHS), LENGTHS.max()))
    start = LENGTHS.max() - LENGTHS
    valid = np.arange(LENGTHS.max()) >= start[:, None]
    return np.where(valid, tokens, 0).astype(np.int32), start.astype(np.int32), valid


def ours(directory, tokens, start, dtype=None):
    model = load(directory, dtype)
    with jax.default_matmul_precision("highest"):
        step = jax.jit(model.family.forward, static_argnums=0)
        logits, _ = step(model.config, model.params, tokens, start)
    assert logits.dtype == jnp.float32
    return np.asarray(logits)


def theirs(directory, tokens, valid, dtype=torch.float32):
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager"
    )
    mask = torch.from_numpy(valid).long()
    with torch.no_grad():
        return (
            model(
                torch.from_numpy(tokens).long(),
                attention_mask=mask,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            )
            .logits.float()
            .numpy()
        )


# Other spellings and settings of what the others test too.
VARIANTS = {
    *("llama2-old", "llama-gelu-tanh", "llama-gelu-new", "llama-linear-v5", "llama-dynamic-v5"),
    *("llama-dynamic-unreached", "llama-yarn-mscale", "llama-yarn-implicit-factor"),
    *("mistral-tied", "mistral-v5", "qwen2-window-off", "qwen2-tied", "qwen3-bias"),
}


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "name", [*(name for name in CONFIGS if name not in VARIANTS), *slow(*sorted(VARIANTS))]
)
def test_float32_logits_equal_transformers(name, tmp_path, batch):
    tokens, start, valid = batch
    directory = write_checkpoint(tmp_path, CONFIGS[name])
    expected = theirs(directory, tokens, valid)
    assert expected[valid].std() > 0.3  # the weights are such that there is something to compare
    np.testing.assert_allclose(
        ours(directory, tokens, start)[valid], expected[valid], rtol=0, atol=1e-5
    )


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "name",
    ["llama-all", "mistral-window", "qwen2-yarn", "qwen3-window", "gemma2", "gemma3-hub", "olmo2"],
)
def test_bfloat16_logits_are_as_near_to_float32_as_transformers(name, tmp_path, batch):
    """Both round every intermediate to bfloat16, at different places and in sums of a different
    order, so neither is the other's truth. That is the float32 result on the same weights; ours
    may not stray further from it than torch's own rounding does (a quarter more, for chance)."""
    tokens, start, valid = batch
    directory = write_checkpoint(tmp_path, CONFIGS[name], dtype=ml_dtypes.bfloat16)
    exact = theirs(directory, tokens, valid)[valid]
    error_torch = theirs(directory, tokens, valid, torch.bfloat16)[valid] - exact
    error_ours = ours(directory, tokens, start)[valid] - exact
    assert 0 < np.sqrt(np.mean(error_ours**2)) <= 1.25 * np.sqrt(np.mean(error_torch**2))
    assert np.abs(error_ours).max() <= 2 * np.abs(error_torch).max()


@pytest.mark.few(3)
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_reads_what_transformers_writes(model_type, tmp_path, batch):
    """The configuration in the spelling and with the omissions of ``save_pretrained``."""
    tokens, start, valid = batch
    config = AutoConfig.for_model(**tiny_config(model_type, tie_word_embeddings=True))
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    expected = theirs(tmp_path, tokens, valid)[valid]
    np.testing.assert_allclose(ours(tmp_path, tokens, start)[valid], expected, rtol=0, atol=1e-5)


def test_longrope_asks_each_sequence_for_its_length(tmp_path, batch):
    """transformers asks the longest of a batch, so that it reads each sequence alone here."""
    tokens, start, valid = batch
    config = CONFIGS["phi3-longrope"] | {"original_max_position_embeddings": 8}
    directory = write_checkpoint(tmp_path, config)
    found = ours(directory, tokens, start)
    for row, begin in enumerate(start):
        expected = theirs(directory, tokens[[row], begin:], valid[[row], begin:])
        np.testing.assert_allclose(found[row, begin:], expected[0], rtol=0, atol=1e-5)


def test_longrope_is_refused_where_a_cache_would_have_other_angles(tmp_path, batch):
    tokens, start, _ = batch
    config = CONFIGS["phi3-longrope"] | {"original_max_position_embeddings": 12}
    model = load(write_checkpoint(tmp_path, config))
    for slots in (12, 13):
        empty = cache.init_cache(model.config, len(tokens), slots, jnp.float32)
        if slots == 12:
            jax.eval_shape(lambda c=empty: forward(model.config, model.params, tokens, start, c))
            continue
        with pytest.raises(ValueError, match="may take 13 tokens here, and RoPE of"):
            forward(model.config, model.params, tokens, start, empty)
