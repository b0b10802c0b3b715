"""Which models' layers can follow one another."""

import pytest

from evojax_merge.checkpoints import CheckpointError, load_config
from evojax_merge.sources.pool import check_pool
from tests.checkpoints_factory import mlp_config, tiny_config, write_checkpoint


def checkpoints(tmp_path, *configs):
    return [
        load_config(write_checkpoint(tmp_path / str(n), config)) for n, config in enumerate(configs)
    ]


def test_depth_vocabulary_and_ties_may_differ(tmp_path):
    models = checkpoints(
        tmp_path,
        tiny_config(),
        tiny_config(num_hidden_layers=5, tie_word_embeddings=True, vocab_size=70),
    )
    check_pool(["a", "b"], models)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hidden_size": 64, "num_attention_heads": 8, "head_dim": 8}, "hidden_size is 64"),
        ({"num_key_value_heads": 4}, "num_kv_heads is 4, that of a is 2"),
        ({"rms_norm_eps": 1e-5}, "rms_norm_eps is 1e-05, that of a is 1e-06"),
        ({"intermediate_size": 64}, "intermediate_size is 64, that of a is 48"),
        ({"rope_theta": 5e5}, "rope is"),
    ],
)
def test_what_layers_share_must_be_the_same(changes, field, tmp_path):
    models = checkpoints(tmp_path, tiny_config(), tiny_config(**changes))
    with pytest.raises(CheckpointError, match=f"b: .*{field}|b: {field}"):
        check_pool(["a", "b"], models)


def test_windows_that_one_configuration_cannot_say(tmp_path):
    models = checkpoints(
        tmp_path,
        tiny_config("mistral", sliding_window=4),
        tiny_config("mistral", sliding_window=8),
    )
    with pytest.raises(
        CheckpointError, match=r"layers 0 to 2: 4; layers 3 to 5: 8.*a has 3, b has"
    ):
        check_pool(["a", "b"], models)


def test_windows_in_some_layers_can_be_said(tmp_path):
    windows = (4, None)
    models = checkpoints(tmp_path, *(tiny_config("mistral", sliding_window=w) for w in windows))
    check_pool(["a", "b"], models)


def test_windows_that_the_other_family_cannot_say(tmp_path):
    models = checkpoints(tmp_path, tiny_config("mistral", sliding_window=4), tiny_config())
    with pytest.raises(CheckpointError, match="of a llama gives layers"):
        check_pool(["a", "b"], models)


def test_only_decoders_have_layers(tmp_path):
    models = checkpoints(tmp_path, tiny_config(), mlp_config(4, 3, 2))
    with pytest.raises(CheckpointError, match="b: is a mlp"):
        check_pool(["a", "b"], models)
