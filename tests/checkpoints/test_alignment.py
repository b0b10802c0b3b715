import json

import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from evojax_merge.checkpoints import CheckpointError, align_vocabularies, load
from evojax_merge.checkpoints.alignment import (
    Vocabulary,
    align_rows,
    dropped_tokens,
    plan_alignment,
    vocabulary_of,
)
from tests.checkpoints_factory import (
    byte_tokenizer,
    mlp_config,
    random_tensors,
    tiny_config,
    word_tokenizer,
    write_checkpoint,
)

WORDS = ["one", "two", "three", "four", "five", "six"]


def model(directory, words, rows, seed=0, **changes):
    """A decoder whose tokenizer knows ``words`` (after 4 special tokens), or has no tokenizer."""
    tokenizer = None if words is None else word_tokenizer(words)
    hf_config = tiny_config(vocab_size=rows, **changes)
    return load(write_checkpoint(directory, hf_config, seed=seed, tokenizer=tokenizer))


def rows_of(model, path="embed_tokens"):
    return np.asarray(model.params[path]["weight"])


@pytest.mark.parametrize("tied", [False, True])
def test_rows_follow_their_tokens(tmp_path, tied):
    """Reordered, with a token less, another added, and tables padded to other lengths."""
    base = model(tmp_path / "base", WORDS, 12, tie_word_embeddings=tied)
    moved = ["new", "six", "one", "two", "four", "three"]
    source = model(tmp_path / "source", moved, 16, seed=1, tie_word_embeddings=tied)
    (aligned,), (account,) = align_vocabularies(base, [source])
    for path in ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]:
        before, after, reference = (
            rows_of(source, path),
            rows_of(aligned, path),
            rows_of(base, path),
        )
        for word in ["<pad>", "<s>", "</s>", "<unk>", "one", "two", "three", "four", "six"]:
            held, wanted = (m.tokenizer.get_vocab()[word] for m in (source, base))
            np.testing.assert_array_equal(after[wanted], before[held])
        five = base.tokenizer.get_vocab()["five"]
        np.testing.assert_array_equal(after[[five, 10, 11]], reference[[five, 10, 11]])
    assert dropped_tokens(vocabulary_of(base), vocabulary_of(source)) == ["new"]
    assert account.to_dict() == {
        "method": "by_token",
        "rows": 16,
        "taken": 9,
        "filled": 1,
        "padding": 2,
        "dropped": 1,
    }
    assert json.loads(json.dumps(account.to_dict())) == account.to_dict()
    assert aligned.config == base.config
    assert aligned.hf_config["vocab_size"] == 12
    assert aligned.tokenizer is base.tokenizer
    assert aligned.tokenizer_directory == base.directory
    assert aligned.params["layers"] is not None


def test_without_a_base_the_first_source_is_the_reference(tmp_path):
    first = model(tmp_path / "a", WORDS, 10)
    second = model(tmp_path / "b", WORDS[::-1], 10, seed=1)
    aligned, accounts = align_vocabularies(None, [first, second])
    assert aligned[0] is first
    assert [account.method for account in accounts] == ["identical", "by_token"]
    np.testing.assert_array_equal(rows_of(aligned[1])[4:], rows_of(second)[:3:-1])


def test_the_filled_rows_have_no_task_vector_in_the_sources_dtype(tmp_path):
    base = model(tmp_path / "base", WORDS, 10)
    source = model(tmp_path / "source", WORDS[:-1], 9, seed=1)
    source = load(source.directory, jnp.bfloat16)
    (aligned,), _ = align_vocabularies(base, [source])
    assert aligned.params["embed_tokens"]["weight"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(rows_of(aligned)[9], rows_of(base)[9].astype(jnp.bfloat16))


def test_padding_alone_moves_nothing_else(tmp_path):
    base = model(tmp_path / "base", WORDS, 10)
    source = model(tmp_path / "source", WORDS, 16, seed=1)
    (aligned,), (account,) = align_vocabularies(base, [source])
    np.testing.assert_array_equal(rows_of(aligned), rows_of(source)[:10])
    assert (account.taken, account.filled, account.padding) == (10, 0, 0)


def test_equal_vocabularies_are_left_alone(tmp_path):
    base = model(tmp_path / "base", WORDS, 10)
    source = model(tmp_path / "source", WORDS, 10, seed=1)
    (aligned,), (account,) = align_vocabularies(base, [source])
    assert aligned is source
    assert account.to_dict()["method"] == "identical"


def test_without_a_tokenizer_equal_lengths_are_assumed_equal(tmp_path):
    base = model(tmp_path / "base", WORDS, 10)
    source = model(tmp_path / "source", None, 10)
    (aligned,), (account,) = align_vocabularies(base, [source])
    assert aligned is source
    assert account.method == "assumed"


def test_networks_without_tokens_need_no_alignment(tmp_path):
    source = load(write_checkpoint(tmp_path, mlp_config(4, 3, 2), tensors=None))
    aligned, accounts = align_vocabularies(None, [source, source])
    assert aligned == (source, source)
    assert accounts[0].method == "assumed"


def test_without_a_tokenizer_other_lengths_are_refused(tmp_path):
    base = model(tmp_path / "base", WORDS, 10)
    source = model(tmp_path / "source", None, 11)
    with pytest.raises(CheckpointError, match=r"11 token rows.*without a tokenizer in .*source"):
        align_vocabularies(base, [source])


def test_tokenizers_of_another_kind_are_refused(tmp_path):
    words, letters = word_tokenizer(WORDS), byte_tokenizer()
    with pytest.raises(CheckpointError, match=r"its tokenizer is BPE.*is WordLevel"):
        plan_alignment(Vocabulary(tmp_path, words, 10), Vocabulary(tmp_path, letters, 260))


def test_too_few_shared_tokens_are_refused(tmp_path):
    ours = Vocabulary(tmp_path, word_tokenizer(WORDS), 10)
    theirs = Vocabulary(tmp_path, word_tokenizer([f"other{i}" for i in range(6)]), 10)
    with pytest.raises(CheckpointError, match=r"knows 4 of the 10 tokens.*at least 50% must be"):
        plan_alignment(ours, theirs)
    account, _ = plan_alignment(ours, theirs, min_shared=0.3)
    assert account.filled == 6


def test_tokens_beyond_the_tables_have_no_row(tmp_path):
    """A tokenizer may know tokens its model has no row for; they are neither taken nor wanted."""
    ours = Vocabulary(tmp_path, word_tokenizer(WORDS), 9)
    theirs = Vocabulary(tmp_path, word_tokenizer(WORDS[::-1]), 8)
    _, rows = plan_alignment(ours, theirs)
    assert rows.tolist() == [0, 1, 2, 3, -1, -1, 7, 6, 5]


def test_align_rows_takes_the_reference_where_told():
    table, reference = np.arange(6.0).reshape(3, 2), -np.ones((2, 2))
    np.testing.assert_array_equal(
        align_rows(table, reference, np.array([2, -1])), [[4, 5], [-1, -1]]
    )


def test_extended_bpe_vocabulary_aligns(tmp_path):
    small = byte_tokenizer()
    vocabulary = small.get_vocab()
    merged = Tokenizer(models.BPE(vocabulary | {"ab": len(vocabulary)}, [("a", "b")]))
    large = PreTrainedTokenizerFast(tokenizer_object=merged)
    account, rows = plan_alignment(
        Vocabulary(tmp_path, small, 260), Vocabulary(tmp_path, large, 261)
    )
    assert rows.tolist() == list(range(260))
    assert (account.taken, account.filled, account.dropped) == (260, 0, 1)


def test_alignment_undoes_a_permutation(tmp_path):
    """A permuted copy of the base is, aligned, the base to the bit."""
    base = model(tmp_path / "base", WORDS, 10)
    order = [0, 1, 2, 3, 8, 6, 9, 4, 7, 5]
    tensors = random_tensors(base.hf_config)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][order]
    words = [["<pad>", "<s>", "</s>", "<unk>", *WORDS][row] for row in order[4:]]
    permuted = write_checkpoint(
        tmp_path / "p", base.hf_config, tensors=tensors, tokenizer=word_tokenizer(words)
    )
    (aligned,), _ = align_vocabularies(base, [load(permuted)])
    np.testing.assert_array_equal(rows_of(aligned), rows_of(base))
    np.testing.assert_array_equal(rows_of(aligned, "lm_head"), rows_of(base, "lm_head"))
