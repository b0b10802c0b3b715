"""Rows of single tokens, tokens without rows, and ids of the result's special tokens."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from evojax_merge.exchange import ExchangeError
from tests.checkpoints_factory import tiny_config, word_tokenizer, write_checkpoint
from tests.exchange.conftest import merged, plan_of, tensors_of

TABLES = ("model.embed_tokens.weight", "lm_head.weight")
LETTERS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    """``base``; ``more``, which has ``new`` besides, and other rows for all letters."""
    root = tmp_path_factory.mktemp("speakers")
    config = tiny_config(vocab_size=8)
    write_checkpoint(root / "base", config, seed=1, tokenizer=word_tokenizer(LETTERS))
    (root / "base" / "generation_config.json").write_text('{"eos_token_id": [2, 5], "top_p": 0.5}')
    more = tiny_config(vocab_size=9)
    write_checkpoint(root / "more", more, seed=2, tokenizer=word_tokenizer(["new", *LETTERS]))
    return {name: str(root / name) for name in ("base", "more")}


def linear(speakers, **tokenizer):
    entries = [{"model": path, "parameters": {"weight": 0.5}} for path in speakers.values()]
    return {
        "merge_method": "linear",
        "base_model": speakers["base"],
        "models": entries,
        "tokenizer": tokenizer,
        "dtype": "float32",
    }


def rows(directory, table):
    vocabulary = AutoTokenizer.from_pretrained(directory).get_vocab()
    tensor = tensors_of(directory)[table]
    return {token: tensor[row] for token, row in vocabulary.items()}


def from_token(model, **which):
    return {"kind": "model_token", "model": model} | which


ROWS = {
    "forced": lambda s: {"a": {"source": s["more"], "force": True}},
    "zeros": lambda s: {"new": {"source": {"kind": "zero"}}},
    "forced zeros": lambda s: {"b": {"source": {"kind": "zero"}, "force": True}},
    "of another token": lambda s: {"<x>": {"source": from_token(s["more"], token="new")}},
    "by number": lambda s: {"<x>": {"source": from_token(s["base"], token_id=3)}},
    "not needed": lambda s: {"a": {"source": s["base"]}},
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_the_file_names(speakers, tmp_path, name):
    tokens = ROWS[name](speakers)
    merged(linear(speakers, source="union", tokens=tokens), tmp_path / "out")
    ((token, _),) = tokens.items()
    for table in TABLES:
        base, more = (rows(speakers[key], table) for key in ("base", "more"))
        zeros = np.zeros(32, np.float32)
        wanted = {
            "forced": more["a"],
            "zeros": more["new"] / 2,
            "forced zeros": zeros,
            "of another token": more["new"],
            "by number": base["<unk>"],
            "not needed": (base["a"] + more["a"]) / 2,
        }[name]
        found = rows(tmp_path / "out", table)
        np.testing.assert_allclose(found[token], wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["c"], (base["c"] + more["c"]) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("name", ROWS)
def test_the_same_rows_as_mergekit(mergekit, speakers, tmp_path, name):
    """With ``source: base``, mergekit ends in an error where a token is added."""
    tree = linear(speakers, source="union", tokens=ROWS[name](speakers), pad_to_multiple_of=16)
    merged(tree, tmp_path / "ours")
    mergekit(tree, tmp_path / "theirs")
    for table in TABLES:
        ours, theirs = (rows(tmp_path / who, table) for who in ("ours", "theirs"))
        assert ours.keys() == theirs.keys()
        for token, row in theirs.items():
            np.testing.assert_allclose(ours[token], row, rtol=1e-5, atol=1e-6, err_msg=token)


@pytest.mark.parity
def test_an_empty_tokenizer_is_a_union_as_in_mergekit(mergekit, speakers, tmp_path):
    merged(linear(speakers), tmp_path / "ours")
    mergekit(linear(speakers), tmp_path / "theirs")
    ours, theirs = (rows(tmp_path / who, TABLES[0]) for who in ("ours", "theirs"))
    assert ours.keys() == theirs.keys() >= {"new"}


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (lambda s: {"a": {"source": "x/y"}}, "x/y is none of the models"),
        (lambda s: {"<x>": {"source": s["more"]}}, "has no row for '<x>'"),
        (lambda s: {"a": {"source": from_token(s["base"], token="new")}}, "no row for 'new'"),
        (lambda s: {"a": {"source": from_token(s["base"], token_id=8)}}, "no row for 8"),
    ],
)
def test_rows_that_there_are_not(speakers, tokens, message):
    with pytest.raises(ExchangeError, match=message):
        plan_of(linear(speakers, tokens=tokens(speakers)))


def test_a_model_that_has_no_part_in_a_table(speakers):
    tree = linear(speakers, source="base", tokens={"a": {"source": speakers["more"]}})
    parts = [
        {"sources": [{"model": own, "layer_range": [i, i + 1]}]}
        for i, own in enumerate(speakers.values())
    ]
    tree = {k: v for k, v in tree.items() if k != "models"} | {"slices": parts}
    with pytest.raises(
        ExchangeError, match=r"embed_tokens.weight: tokenizer.tokens.a names .*more"
    ):
        plan_of(tree | {"merge_method": "passthrough"})


def bpe(added):
    vocabulary = {letter: row for row, letter in enumerate("abcdefgh")} | {"ab": 8, "cd": 9}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("c", "d")]))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.add_tokens(added, special_tokens=True)
    return fast


def unigram(added):
    pieces = [("<unk>", 0.0), *((letter, -1.0) for letter in "abcdefghi")]
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram(pieces, unk_id=0)))
    fast.add_tokens(added, special_tokens=True)
    return fast


@pytest.mark.parametrize("rows_", [10, 9])
@pytest.mark.parametrize("make", [bpe, unigram, lambda added: word_tokenizer([*"abcdef", *added])])
def test_tokens_beyond_the_rows_are_left_out(tmp_path, make, rows_):
    for seed, (name, added) in enumerate({"one": ["<x>", "<y>"], "two": []}.items()):
        write_checkpoint(
            tmp_path / name, tiny_config(vocab_size=rows_), seed=seed, tokenizer=make(added)
        )
    tree = linear({"base": str(tmp_path / "one"), "two": str(tmp_path / "two")}, source="base")
    found = merged(tree, tmp_path / "out")
    assert len(found[TABLES[0]]) == rows_
    ours = AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()
    theirs = AutoTokenizer.from_pretrained(tmp_path / "one").get_vocab()
    assert ours == {token: row for token, row in theirs.items() if row < rows_}


def test_a_tokenizer_that_cannot_do_without_is_refused(tmp_path):
    pieces = [*((letter, -1.0) for letter in "abcdefgh"), ("<unk>", 0.0)]
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram(pieces, unk_id=8)))
    write_checkpoint(tmp_path / "one", tiny_config(vocab_size=5), tokenizer=fast)
    tree = {
        "merge_method": "passthrough",
        "models": [{"model": str(tmp_path / "one")}],
        "tokenizer_source": "base",
    }
    with pytest.raises(ExchangeError, match=r"tokens beyond the 5 rows .* cannot do without them"):
        plan_of(tree)


def test_ids_of_special_tokens_are_those_of_the_result(speakers, tmp_path):
    """The base's list of end tokens is translated by token: ``b`` is 5 there and 6 here."""
    tree = linear(speakers, source=speakers["more"])
    merged(tree, tmp_path / "out")
    settings = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (settings.eos_token_id, settings.top_p) == ([2, 6], 0.5)
    chat = word_tokenizer([*LETTERS])
    other = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(
            models.WordLevel(
                {"<end>": 0} | {t: i + 1 for t, i in chat.get_vocab().items()}, "<unk>"
            )
        ),
        bos_token="<s>",
        eos_token="<end>",
    )
    other.save_pretrained(tmp_path / "donor")  # a tokenizer alone, no model
    merged(linear(speakers, source=str(tmp_path / "donor")), tmp_path / "chat")
    config = json.loads((tmp_path / "chat" / "config.json").read_text())
    assert [config[f"{role}_token_id"] for role in ("bos", "eos", "pad")] == [2, 0, 1]
    assert GenerationConfig.from_pretrained(tmp_path / "chat").eos_token_id == [0, 3, 6]
    assert config["vocab_size"] == 9
