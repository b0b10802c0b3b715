"""YAML of strangers: what is read, and what is refused before any value is made."""

import pytest
import yaml

from evojax_merge.documents import yaml_text
from evojax_merge.documents.yaml_text import load_documents, load_yaml


def test_anchors_and_merges_are_followed():
    text = """
    low: &low {weight: 0.1, layers: [0, 4]}
    high: &high {<<: *low, weight: 0.9}
    both: {<<: [*high, {seed: 7}], name: both}
    again: *low
    """
    low = {"weight": 0.1, "layers": [0, 4]}
    high = {"weight": 0.9, "layers": [0, 4]}
    assert load_yaml(text) == {
        "low": low,
        "high": high,
        "both": {**high, "seed": 7, "name": "both"},
        "again": low,
    }


def test_a_merge_may_be_overridden_wherever_it_stands():
    text = "- [&b {<<: &a {x: 1}, x: 2}]\n- {<<: *b, x: 3}\n- {<<: *b}"
    assert load_yaml(text) == [[{"x": 2}], {"x": 3}, {"x": 2}]


def test_documents_one_after_another():
    assert load_documents("a: 1\n---\n- 2\n---\n") == [{"a": 1}, [2], None]
    assert load_documents("") == []
    assert load_yaml("") is None
    with pytest.raises(yaml.YAMLError, match="holds 2 documents"):
        load_yaml("a: 1\n---\nb: 1")


def laughs(lines: int) -> str:
    first = ["a0: &a0 [lol, lol]"]
    return "\n".join(first + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, lines)])


def merging_laughs(lines: int) -> str:
    first = ["a0: &a0 {x: 1}"]
    return "\n".join(
        first + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, lines)]
    )


def chain(lines: int) -> str:
    return "\n".join(["a0: &a0 [1]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, lines)])


def test_more_values_than_can_be_read_in_time(monkeypatch):
    monkeypatch.setattr(yaml_text, "_MOST_NODES", 1_000)
    with pytest.raises(yaml.YAMLError, match="more than 1,000 values"):
        load_yaml("[" + "1," * 1_000 + "]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (laughs(40), "stands for more than 1,000,000 values"),
        (merging_laughs(40), "stands for more than 1,000,000 values"),
        (chain(80), "nested more than 64 deep"),
        ("&a [*a]", "an alias stands for what it is in"),
        ("a: &a {b: [{c: *a}]}", "an alias stands for what it is in"),
        ("a: &a {<<: *a}", "an alias stands for what it is in"),
        ("[" * 100_000, "nested more than 64 deep"),
        ("{a: " * 1_000, "nested more than 64 deep"),
        ("\n".join(" " * n + "a:" for n in range(100)), "nested more than 64 deep"),
        ("a" * 5_000_000, "longer than 4 million characters"),
        ("a: 1\na: 2", "the key 'a' is given twice"),
        ("{1: a, 0x1: b}", "the key 1 is given twice"),
        ("a: " + "1:" * 100_000 + "1", "200,001 characters is no text"),
        ("9" * 5_000, "5,000 characters is no text"),
        ('"\\ud800"', "half of a surrogate pair"),
        ("a: 2026-99-99", "not what it looks like .month"),
        ("!!int ''", "not what it looks like"),
        ("!!float ''", "not what it looks like"),
        ("!!bool x", "not what it looks like"),
        ("!!timestamp x", "not what it looks like"),
        ("[a, b]: 1", "unhashable key"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("*nothing", "undefined alias"),
        ("a: [", "expected the node content.* at line 1, column 5"),
        ("a: \0", "unacceptable character"),
    ],
)
def test_what_is_refused_in_one_line(text, message):
    with pytest.raises(yaml.YAMLError, match=message) as caught:
        load_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
