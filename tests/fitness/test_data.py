import os

import pytest

from evojax_merge.fitness import GenerationTask, MultipleChoiceTask, PerplexityTask
from evojax_merge.fitness.data import DataError, read_jsonl
from evojax_merge.fitness.text import fill


def test_lines_become_records(tmp_path):
    file = tmp_path / "items.jsonl"
    text = '\ufeff{"question": "a\u2028b", "answer": 1}\r\n\n{"question": "a", "answer": 1}\n'
    file.write_bytes(text.encode())
    records = read_jsonl(file)
    assert [record.line for record in records] == [1, 3]
    assert records[0].field("question") == "a\u2028b"
    assert len(read_jsonl(file, limit=1)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b'{"a": 1}\n{"a": \n', r"line 2: malformed JSON: .* at column"),
        (b'{"a": 1} {"a": 2}\n', r"line 1: malformed JSON"),
        (b'{"a": 1}\n\n[1]\n', "line 3: a JSON list, not an object"),
        (b'{"a": "\xff"}\n', "line 1: not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "line 1: not UTF-8"),
        (b'{"a": 1, "a": 2}\n', "line 1: the key 'a' is given twice"),
        (b'{"a": "\\ud800"}\n', "line 1: .* half of a surrogate pair"),
        (b'{"a": ' + b"[" * 100_000, "line 1: is nested more than 64 deep"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1: is nested more than 64 deep"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "line 1: not valid JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, message):
    file = tmp_path / "items.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_jsonl(file)
    assert str(file) in str(error.value)


def test_a_missing_field_names_the_nearest(write):
    (record,) = read_jsonl(write({"question": "a", "answr": 1}))
    with pytest.raises(DataError, match=r"line 1: no field 'answer'.*mean answr"):
        record.field("answer")


ANSWERS = (
    {"reference": "question", "template": "x"},
    {"reference": "question", "template": "x", "extract": "exact"},
)
"""Tasks whose right answers may be lists, which other fields may not be."""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true or false"),
        ([], "a list"),
        (["a"], "a list"),
        ({"a": 1}, "an object"),
        (float("nan"), "no finite number"),
        (float("-inf"), "no finite number"),
        (10**400, "a number too large"),
    ],
)
def test_what_is_neither_text_nor_number_is_named_with_its_line_and_field(write, value, shown):
    records = read_jsonl(write({"question": "a"}, {"question": value}))
    with pytest.raises(DataError, match=rf"line 2: field 'question' is {shown}.*; give a text"):
        fill("{question}", records[1])
    tasks = (
        *((GenerationTask, options) for options in ANSWERS if not isinstance(value, list)),
        (GenerationTask, {"template": "x", "reference_text": "{question}"}),
        (MultipleChoiceTask, {}),
        (PerplexityTask, {"template": "{question}"}),
    )
    others = {"answer": 0, "choices": ["a", "b"], "text": "a"}
    path = write({"question": 1.5, **others}, {"question": value, **others})
    for task, options in tasks:
        with pytest.raises(DataError, match=rf"line 2: field 'question' is {shown}"):
            task(data=path, **options)


def test_texts_and_numbers_are_filled_in_as_they_stand(write):
    (record,) = read_jsonl(write({"a": "x", "n": 3, "f": 2.5}))
    assert fill("{a} {n} {f:.2f} {a:>3}{{}}", record) == "x 3 2.50   x{}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{a:>99999999999}", "is wider than 1,000 characters"),
        ("{a:>1001}", "is wider than 1,000 characters"),
        ("{f:.2000f}", "is wider than 1,000 characters"),
        ("{f:" + "9" * 10_000 + "}", "is wider than 1,000 characters"),
        ("{a:{b}}", "has fields of its own"),
        ("{a:{b.__class__}}", "has fields of its own"),
        ("{a.__class__}", "is not the name of a field"),
        ("{a[0]}", "is not the name of a field"),
        ("{}", "is not the name of a field"),
        ("{a", "a literal brace is written twice"),
        ("{a!x}", "template"),
        ("{a:d}", "template"),
        ("\ud800", "half of a surrogate pair"),
        (3, "template must be a text"),
        (None, "template must be a text"),
    ],
)
def test_templates_that_are_refused(write, template, message):
    (record,) = read_jsonl(write({"a": "x", "b": "y", "f": 2.5}))
    with pytest.raises(ValueError, match=message):
        fill(template, record)


def test_a_pipe_is_an_error_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "items.jsonl")
    with pytest.raises(DataError, match="no regular file"):
        read_jsonl(tmp_path / "items.jsonl")


def test_a_home_that_is_not_there():
    with pytest.raises(DataError, match="home of a user who is not known"):
        read_jsonl("~nobody_of_this_name/items.jsonl")


def test_missing_files_and_limits(tmp_path, write):
    with pytest.raises(DataError, match="no such file"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="no regular file"):
        read_jsonl(tmp_path)
    with pytest.raises(ValueError, match="limit must be a whole number"):
        read_jsonl(write({}), limit=0)
