"""The checkpoints of a merge are audited from their headers and brought to one vocabulary."""

import numpy as np
import pytest

from evojax_merge.checkpoints import CheckpointError
from evojax_merge.sources import ingredients
from evojax_merge.sources.ingredients import load_ingredients
from evojax_merge.sources.plan import plan
from tests.checkpoints_factory import tiny_config, word_tokenizer, write_checkpoint

WORDS = [f"w{number}" for number in range(60)]


def checkpoint(directory, words, **options):
    seed = options.pop("seed", 0)
    config = tiny_config(**options)
    return str(write_checkpoint(directory, config, seed=seed, tokenizer=word_tokenizer(words)))


def test_everything_has_the_reference_vocabulary(tmp_path):
    base = checkpoint(tmp_path / "base", WORDS)
    moved = checkpoint(tmp_path / "moved", [*WORDS[::-1], "new"], vocab_size=72, seed=1)
    loaded = load_ingredients(plan(base, [moved, base]))
    assert loaded.reference is loaded.base
    assert list(loaded.vocabulary) == ["moved"]
    assert loaded.vocabulary["moved"]["method"] == "by_token"
    tables = [m.params["embed_tokens"]["weight"] for m in (loaded.base, *loaded.sources)]
    assert [table.shape for table in tables] == [(64, 32)] * 3
    np.testing.assert_array_equal(tables[2], tables[0])


def test_the_reference_may_be_a_source(tmp_path):
    base = checkpoint(tmp_path / "base", WORDS)
    chat = checkpoint(tmp_path / "chat", [*WORDS, "<chat>"], vocab_size=65, seed=1)
    loaded = load_ingredients(plan(base, [base, chat], reference=1))
    assert loaded.reference.directory.name == "chat"
    assert loaded.base.params["embed_tokens"]["weight"].shape == (65, 32)
    ours, chats = (m.params["embed_tokens"]["weight"] for m in (loaded.base, loaded.sources[1]))
    np.testing.assert_array_equal(ours[64], chats[64])
    assert not np.array_equal(ours[:64], chats[:64])


def test_without_a_base_the_first_source_is_the_reference(tmp_path):
    first = checkpoint(tmp_path / "first", WORDS)
    loaded = load_ingredients(plan(None, [first, first], dtype="bfloat16"))
    assert loaded.base is None
    assert loaded.reference is loaded.sources[0]
    assert loaded.dtype.name == "bfloat16"
    assert loaded.vocabulary is None


def test_the_audit_comes_before_any_weights(tmp_path, monkeypatch):
    base = checkpoint(tmp_path / "base", WORDS)
    deep = checkpoint(tmp_path / "deep", WORDS, num_hidden_layers=4)
    monkeypatch.setattr(ingredients, "load", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(CheckpointError, match="cannot be merged"):
        plan(base, [deep])
