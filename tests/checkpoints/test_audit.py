import pytest

from evojax_merge.checkpoints import CheckpointError, audit, load_config
from tests.checkpoints_factory import mlp_config, tiny_config, word_tokenizer, write_checkpoint

WORDS = [f"word{number}" for number in range(60)]


def checkpoint(directory, hf_config, words=WORDS, **options):
    tokenizer = None if words is None else word_tokenizer(words)
    return load_config(write_checkpoint(directory, hf_config, tokenizer=tokenizer, **options))


def test_sources_of_one_shape_pass(tmp_path):
    found = [checkpoint(tmp_path / str(seed), tiny_config(), seed=seed) for seed in range(3)]
    assert [account.method for account in audit(found[0], found[1:])] == ["identical"] * 2
    assert [account.method for account in audit(None, found)] == ["identical"] * 3


def test_all_sources_that_do_not_fit_are_in_one_error(tmp_path):
    base = checkpoint(tmp_path / "base", tiny_config())
    wide = checkpoint(tmp_path / "wide", tiny_config(intermediate_size=64))
    deep = checkpoint(tmp_path / "deep", tiny_config(num_hidden_layers=4))
    other = checkpoint(tmp_path / "other", tiny_config("mistral"))
    tied = checkpoint(tmp_path / "tied", tiny_config(tie_word_embeddings=True))
    classifier = checkpoint(tmp_path / "classifier", mlp_config(4, 3, 2), words=None)
    foreign = checkpoint(tmp_path / "foreign", tiny_config(), words=WORDS[:3])
    with pytest.raises(CheckpointError) as caught:
        audit(base, [base, wide, deep, other, tied, classifier, foreign])
    message = str(caught.value)
    assert message.startswith(f"sources cannot be merged with {base.directory}:")
    assert "model.layers.0.mlp.down_proj.weight is [32, 64], not [32, 48]" in message
    assert "… and 1 more" in message
    assert "has model.layers.3.mlp.up_proj.weight [48, 32] besides" in message
    assert "model_type is mistral, not llama" in message
    assert "lacks lm_head.weight [64, 32]" in message
    assert "is a mlp, not a decoder" in message
    assert "knows 7 of the 64 tokens" in message
    assert f"{base.directory}:\n    " not in message


def test_tables_of_other_lengths_pass_where_tokens_align(tmp_path):
    base = checkpoint(tmp_path / "base", tiny_config())
    longer = checkpoint(tmp_path / "longer", tiny_config(vocab_size=72), words=[*WORDS, "more"])
    (account,) = audit(base, [longer])
    assert (account.method, account.rows, account.dropped) == ("by_token", 72, 1)


def test_another_configuration_of_the_same_shapes_is_warned_of(tmp_path):
    base = checkpoint(tmp_path / "base", tiny_config())
    source = checkpoint(tmp_path / "source", tiny_config(rms_norm_eps=1e-5))
    with pytest.warns(UserWarning, match=r"rms_norm_eps 1e-05 \(used: 1e-06\)"):
        audit(base, [source])


def test_no_sources():
    with pytest.raises(CheckpointError, match="no sources to merge"):
        audit(None, [])
