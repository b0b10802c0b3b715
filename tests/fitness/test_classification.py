import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from evojax_merge.fitness import DataError, classification, classification_task
from evojax_merge.models.request import Classify


def classifier(*widths):
    return SimpleNamespace(config=SimpleNamespace(hidden_sizes=widths))


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, inputs=np.arange(12.0).reshape(3, 2, 2), label=np.array([0, 2, 1]))
    return str(path)


def test_logits_are_judged_by_item(npz):
    bound = classification_task(npz).bind(classifier(4, 3))
    assert bound.request == Classify()
    assert len(bound) == 3
    (batch,) = bound.batches
    assert batch.inputs.dtype == np.float32
    assert batch.inputs.shape == (3, 4)
    right = np.eye(3, dtype=np.float32)[[0, 2, 1]]
    broken = np.where(np.arange(3)[:, None] == 1, np.float32(np.nan), right)
    scores = bound.score([np.stack([right, np.roll(right, 1, -1), broken])])
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, [[1, 1, 1], [0, 0, 0], [1, np.nan, 1]])
    details = bound.details([right[None]], candidate=0)
    assert details[1] == {"item": 1, "answer": 2, "reference": 2, "right": True}


def test_a_table_gives_the_same_as_arrays(npz, tmp_path):
    table = tmp_path / "data.csv"
    table.write_text("\ufeffa,label,b,c,d\n0,0,1,2,3\n4,2,5,6,7\n8,1,9,10,11\n")
    task = classification_task(str(table), test=npz)
    np.testing.assert_array_equal(task.examples.inputs, task.on("test").examples.inputs)
    np.testing.assert_array_equal(task.examples.labels, task.on("test").examples.labels)
    assert task.splits == ("search", "test")
    assert len(classification_task(npz, limit=2)) == 2
    with pytest.raises(ValueError, match="no data for the split 'validation'"):
        task.on("validation")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", r"no column 'label'"),
        ("", "no column 'label'"),
        ("a,label\n1,0\n1\n", "line 3: 1 values under 2 columns"),
        ("a,label\n1,0\nx,1\n", "line 3: could not convert"),
        ("a,label\n", "0 rows"),
        ("a,label\n1,0.5\n", "integers from 0"),
        ("a,label\n1,-1\n", "integers from 0"),
        ("a,label\nnan,1\n", "not finite"),
        ("a,label\n1e300,1\n", "not finite in float32"),
        ("label,label\n1,1\n", "two columns 'label'"),
        ("a,label\n" + "1" * 200_000 + ",1\n", "line 3: field larger than"),
    ],
)
def test_bad_tables(tmp_path, content, message):
    table = tmp_path / "data.csv"
    table.write_text(content)
    with pytest.raises(DataError, match=message):
        classification_task(str(table))


def test_other_mistakes(npz, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no array 'labels'.*mean label"):
        classification_task(npz, label="labels")
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        classification_task(str(broken))
    for name, arrays in {
        "texts": {"inputs": np.array(["a", "b"]), "label": np.arange(2)},
        "one": {"inputs": np.array(3), "label": np.arange(2)},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(DataError, match="give rows of numbers"):
            classification_task(str(tmp_path / f"{name}.npz"))
    monkeypatch.setattr(classification, "_LARGEST_ARRAYS", 2**26)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as bomb:
        member = zipfile.ZipInfo("inputs.npy")
        with bomb.open(member, "w", force_zip64=True) as file:
            file.write(bytes(2**27))
    with pytest.raises(DataError, match=r"its arrays have 0\.1 GiB"):
        classification_task(str(tmp_path / "bomb.npz"))
    (tmp_path / "binary.csv").write_bytes(b"a,label\n\xff,1\n")
    with pytest.raises(DataError, match=r"line 1: .*can't decode"):
        classification_task(str(tmp_path / "binary.csv"))
    with pytest.raises(DataError, match=r"none\.csv: missing"):
        classification_task("none.csv")
    with pytest.raises(ValueError, match="4 features, and the model takes 5"):
        classification_task(npz).bind(classifier(5, 3))
    with pytest.raises(ValueError, match="class 2, and the model's classes end at 1"):
        classification_task(npz).bind(classifier(4, 2))
    with pytest.raises(ValueError, match="needs a classifier"):
        classification_task(npz).bind(object())
