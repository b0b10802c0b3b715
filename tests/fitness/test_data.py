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


def test_missing_files_and_limits(tmp_path, write):
    with pytest.raises(DataError, match="no such file"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="not a file"):
        read_jsonl(tmp_path)
    with pytest.raises(DataError, match="limit"):
        read_jsonl(write({}), limit=0)
