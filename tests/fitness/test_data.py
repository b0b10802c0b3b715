import os

import pytest

from evojax_merge.fitness.data import DataError, read_jsonl


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
    with pytest.raises(DataError, match=r"line 1: no field 'answer'.*mean 'answr'"):
        record.field("answer")


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
