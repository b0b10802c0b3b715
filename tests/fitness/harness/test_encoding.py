"""Texts become the tokens that the harness's own models would be given."""

import numpy as np
import pytest

from evojax_merge.fitness.harness.encoding import HarnessEncoder
from tests.fitness.conftest import language_model

BOS, EOS = 1, 2


def encoder(max_length=None, **options):
    return HarnessEncoder(language_model(**options), "task", max_length)


def ids(text, **options):
    return language_model(**options).tokenizer(text, add_special_tokens=False)["input_ids"]


def test_pairs_begin_once_and_blanks_belong_to_the_text():
    (row, known), (other, of_other) = encoder().pairs(["a b ", "<s>a"], ["c", "b"])
    assert row == [BOS, *ids("a b c")]
    assert known == 1 + len("a b")
    assert (other, of_other) == ([BOS, *ids("ab")], 2)


def test_an_empty_context_is_the_first_token():
    found = encoder().pairs(["", ""], ["ab", "<s>b"])
    assert found == [([BOS, *ids("ab")], 1), ([BOS, *ids("b")], 1)]
    assert encoder(bos=False).pairs([""], ["ab"])[0][1] == 1


def test_what_is_too_long_is_cut_on_the_left():
    ((row, known),) = encoder(8).pairs(["0123456789"], ["abc"])
    assert row == ids("456789abc")[-9:]
    assert known == 6
    assert encoder(8).prompts(["0123456789"], room=3) == [ids("56789")]


def test_an_end_token_that_the_tokenizer_appends_stays_as_in_the_harness():
    assert encoder(eos=True).prompts(["ab"], 4) == [[BOS, *ids("ab"), EOS]]


@pytest.mark.parametrize(
    ("contexts", "texts", "message"),
    [
        (["a"], [""], "the text '' has no token"),
        (["a"], ["b" * 9], "a text of 9 tokens is scored, and a sequence has 8"),
    ],
)
def test_what_the_harness_fails_at_is_refused(contexts, texts, message):
    with pytest.raises(ValueError, match=f"task: {message}"):
        encoder(8).pairs(contexts, texts)


def test_other_refusals():
    with pytest.raises(ValueError, match="an answer may have 8 tokens, and a sequence 8"):
        encoder(8).prompts(["a"], room=8)
    with pytest.raises(ValueError, match="a sequence needs 2000 tokens"):
        encoder(2000)
    assert np.isfinite(encoder().max_length)
