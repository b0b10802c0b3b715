"""JSON of strangers: what is read, and what is refused in one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evojax_merge.documents import json_text
from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.json_text import DEEPEST, load_json, load_object

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_what_is_plain_is_read_as_the_standard_library_reads_it(value):
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert load_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('[{"b": {"a": 1, "a": 1}}]', "the key 'a' is given twice"),
        ("[" * 200_000, "nested more than 64 deep"),
        ("[" * 65 + "]" * 65, "nested more than 64 deep"),
        ('{"a":' * 200_000, "nested more than 64 deep"),
        ("9" * 5_000, "not valid JSON"),
        (r'"\ud800"', "half of a surrogate pair"),
        (r'{"\udc00x": 1}', "half of a surrogate pair"),
        (r'["\ud83d", "\ude00"]', "half of a surrogate pair"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(DocumentError, match=message):
        load_json(text)


def test_more_parts_than_there_is_memory_for(monkeypatch):
    monkeypatch.setattr(json_text, "MOST", 1_000)
    with pytest.raises(DocumentError, match="more than 1,000 objects"):
        load_json("[" + "[]," * 1_000 + "[]]")


def test_brackets_in_strings_and_whole_pairs_are_nothing_special():
    text = json.dumps({"[" * 1_000: "\U0001f600 {" * 1_000, '"\\': "\\\\["})
    assert load_json(text) == json.loads(text)
    assert load_json("[" * DEEPEST + "]" * DEEPEST)


@pytest.mark.parametrize(
    ("text", "kind"), [("[]", "a list"), ("null", "null"), ("1.5", "a number")]
)
def test_an_object_is_expected(text, kind):
    with pytest.raises(DocumentError, match=f"holds {kind}; a JSON object was expected"):
        load_object(text)
