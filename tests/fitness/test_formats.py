"""Items in the formats that people keep them in: the same items, and errors with their place."""

import json
import os

import numpy as np
import pytest

from evojax_merge.fitness import GenerationTask, MultipleChoiceTask
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.formats import read_data

ITEMS = [{"question": "1,\n+ 1 「", "answer": "2"}, {"question": 'a "b"', "answer": "3"}]


def put(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def table(separator):
    rows = (f'"{q}"{separator}{a}' for q, a in (("1,\n+ 1 「", 2), ('a ""b""', 3)))
    return "\r\n".join((separator.join(("question", "answer")), *rows, ""))


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, ITEMS)), ["line 1", "line 2"]),
        ("a.txt", "\n".join(map(json.dumps, ITEMS)), ["line 1", "line 2"]),
        ("a.json", "\n".join(map(json.dumps, ITEMS)), ["line 1", "line 2"]),
        ("a.json", json.dumps(ITEMS, indent=1), ["item 1", "item 2"]),
        ("a.JSON", "\ufeff" + json.dumps({"data": ITEMS, "x": 1}), ["item 1", "item 2"]),
        ("a.json", json.dumps({"x": 1, "data": ITEMS}, indent=2), ["item 1", "item 2"]),
        ("a.csv", "\ufeff" + table(","), ["line 3", "line 4"]),
        ("a.tsv", table("\t"), ["line 3", "line 4"]),
    ],
)
def test_the_same_items_in_every_format(tmp_path, name, content, places):
    path = put(tmp_path, name, content)
    records = read_data(path)
    assert [record.fields for record in records] == ITEMS
    assert [record.place for record in records] == [f"{path}, {place}" for place in places]
    assert [record.fields for record in read_data(path, 1)] == ITEMS[:1]
    assert len(GenerationTask(data=path)) == 2


def test_one_object_is_one_item(tmp_path):
    assert len(read_data(put(tmp_path, "a.json", '{"question": "a"}'))) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "", "is empty"),
        ("a.json", "[]", "list is empty"),
        ("a.json", "3", "neither a list of objects nor"),
        ("a.json", '{\n"a": []}', "neither a list of objects nor"),
        ("a.json", "[{}, 3]", "item 2: a JSON int, not an object"),
        ("a.json", "[{},", "not valid JSON .* line 1, column 5"),
        ("a.json", b"\xff", "not UTF-8"),
        ("a.json", '{"a": 1}\n{"a": \n', "line 2: malformed JSON"),
        ("a.csv", "", "has no rows"),
        ("a.csv", "a,b\n", "has no rows"),
        ("a.csv", "a,a\n1,2\n", "line 1: the header names 'a' twice"),
        ("a.csv", "a,\n1,2\n", "line 1: the header has a column without a name"),
        ("a.csv", "a,b\n1,2\n\n1,2,3\n", "line 4: has 3 values, and the header names 2"),
        ("a.csv", 'a,b\n1,"2\n', "line [23]: .*; correct the quotes"),
        ("a.tsv", b"a\tb\n\xff\t2", "not UTF-8"),
        ("a.parquet", b"PAR1 and no more", "is no Parquet, or is damaged"),
        ("a.jsonl.gz", b"\x1f\x8b", r"end in \.gz are not read"),
    ],
)
def test_what_is_no_such_file_is_one_error(tmp_path, name, content, message):
    path = put(tmp_path, name, content)
    with pytest.raises(DataError, match=f"(?s){name}.*{message}"):
        read_data(path)


@pytest.mark.parametrize("end", ["json", "csv", "parquet"])
def test_missing_files_and_pipes(tmp_path, end):
    with pytest.raises(DataError, match="no such file"):
        read_data(tmp_path / f"none.{end}")
    os.mkfifo(tmp_path / f"pipe.{end}")
    with pytest.raises(DataError, match="no regular file"):
        read_data(tmp_path / f"pipe.{end}")


def test_parquet_without_bytes(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "question": [one["question"] for one in ITEMS] * 800,
        "answer": range(1600),
        "choices": [["a", "b"], ["c", None]] * 800,
        "image": [{"bytes": b"\x00", "path": "a.png"}] * 1600,
        "on": pyarrow.array([0, 1] * 800, pyarrow.date32()),
    }
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    records = read_data(path)
    assert len(records) == 1600
    assert records[1599].place == f"{path}, row 1600"
    last = {"question": 'a "b"', "answer": 1599, "choices": ["c", None], "on": "1970-01-02"}
    assert records[1599].fields == last
    assert [one.fields for one in read_data(path, 1100)] == [one.fields for one in records[:1100]]
    assert len(GenerationTask(data=str(path), split=[0.5, 0.5])) == 800


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    path = put(tmp_path, "a.parquet", b"PAR1")
    with pytest.raises(DataError, match=r"pip install 'evojax-merge\[parquet\]'"):
        read_data(path)


def test_choices_of_a_table_are_columns(tmp_path, model):
    path = put(tmp_path, "a.csv", "question,A,B,C,answer\nx,1,2,3,2\ny,4,5,6,B\nz,a,b,c,0\n")
    task = MultipleChoiceTask(data=path, choices=["A", "B", "C"])
    details = task.bind(model).details([np.zeros((1, 9))])
    assert [one["reference"] for one in details] == ["2", "5", "a"]
    assert details[1]["choices"] == ["4", "5", "6"]
    with pytest.raises(DataError, match="line 2: no field 'D'"):
        MultipleChoiceTask(data=path, choices=["A", "D"])
