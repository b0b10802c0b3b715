import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evojax_merge.fitness.encoder import Encoder, pad_left, plan_buckets
from tests.fitness.conftest import language_model

lengths = st.lists(st.integers(1, 120), min_size=1, max_size=12)


@given(lengths, st.integers(1, 4), st.integers(0, 64))
def test_buckets_hold_every_row_once_and_fit_it(lengths, most, extra):
    buckets = plan_buckets(lengths, most, extra)
    assert 1 <= len(buckets) <= most
    assert sorted(np.concatenate([bucket.rows for bucket in buckets])) == list(range(len(lengths)))
    for rows, length in buckets:
        assert length % 16 == 0
        assert all(lengths[row] <= length for row in rows)
        assert any(lengths[row] > length - 16 for row in rows)


@given(lengths, st.integers(2, 3))
def test_buckets_are_the_best_division_of_their_number(lengths, most):
    buckets = plan_buckets(lengths, most)
    cost = sum(len(rows) * length for rows, length in buckets)
    padded = [-(-length // 16) * 16 for length in lengths]
    for chosen in itertools.combinations(sorted(set(padded)), len(buckets)):
        if chosen[-1] == max(padded):
            assert cost <= sum(min(one for one in chosen if one >= row) for row in padded)


def test_a_bucket_must_be_worth_a_program():
    assert len(plan_buckets([15, 17, 30], 3)) == 1 + (2 * 32 + 16 < 0.9 * 96)
    assert len(plan_buckets([16] * 10 + [128], 3)) == 2
    assert len(plan_buckets([16] * 10 + [128], 3, extra=4096)) == 1


def test_left_padding():
    tokens, start = pad_left([[5, 6], [7, 8, 9]], 4, 0)
    assert tokens.tolist() == [[0, 0, 5, 6], [0, 7, 8, 9]]
    assert start.tolist() == [2, 1]


def test_special_tokens_go_before_once_and_never_after():
    plain, bos, both = (
        Encoder(language_model(bos=bos, eos=eos), "task")
        for bos, eos in ((False, False), (True, False), (True, True))
    )
    text = plain(["ab"])[0]
    assert len(text) == 2
    assert bos(["ab", "<s>ab", ""]) == [[1, *text], [1, *text], [1]]
    assert both(["ab", "<s>ab", ""]) == [[1, *text], [1, *text], [1]]
    assert bos(["ab"], special=False) == [text]


def test_pairs_split_where_the_context_ends():
    bos, plain = Encoder(language_model(), "task"), Encoder(language_model(bos=False), "task")
    a, b, space = (plain([one])[0][0] for one in "ab ")
    assert bos.pair(["a", "a ", ""], [" b", "b", "b"]) == [
        ([1, a, space, b], 2),
        ([1, a, space, b], 2),
        ([1, b], 1),
    ]
    assert plain.pair(["", "a"], ["b", "b"]) == [([1, b], 1), ([a, b], 1)]
    with pytest.raises(ValueError, match="no token"):
        bos.pair(["a"], [""])


def test_end_and_padding_tokens(tmp_path):
    model = language_model(pad=False)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    model.directory = tmp_path
    encoder = Encoder(model, "task")
    assert encoder.eos_ids == (2, 7)
    assert encoder.pad == 2


def test_models_that_cannot_be_measured_are_refused():
    with pytest.raises(ValueError, match=r"needs a tokenizer.*fitness=external"):
        Encoder(object(), "task")
    with pytest.raises(ValueError, match="needs a fast tokenizer"):
        Encoder(SimpleNamespace(tokenizer="slow"), "task")
    with pytest.raises(ValueError, match="belongs to another model"):
        Encoder(language_model(vocabulary=10), "task")(["a"])
