"""Data sets of the hub, from a cache as the hub's client leaves it, without a connection."""

import json
import os

import pytest
from huggingface_hub import constants

from evojax_merge.fitness import GenerationTask
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.formats import read_data
from evojax_merge.fitness.hub_data import card_splits

CARD = """---
license: mit
configs:
- config_name: main
  default: true
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: [main/test-*]
- config_name: socratic
  data_dir: socratic
  data_files:
  - split: test
    path: "*.jsonl"
- config_name: outside
  data_files: ../../../items.jsonl
---
# A data set
"""


def lines(*answers):
    return "".join(json.dumps({"question": "?", "answer": one}) + "\n" for one in answers)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Adds a data set to a cache of its own: links to blobs, as the client leaves them."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def add(name, files, commit="c" * 40, ref="main"):
        repository = tmp_path / f"datasets--{name.replace('/', '--')}"
        for path, content in files.items():
            blob = repository / "blobs" / f"{abs(hash((path, content)))}"
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_text(content)
            link = repository / "snapshots" / commit / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / ref).write_text(commit)
        return repository / "snapshots" / commit

    return add


@pytest.fixture
def gsm(hub):
    files = {
        "README.md": CARD,
        "main/train-00000-of-00001.jsonl": lines(0),
        "main/test-00001-of-00002.jsonl": lines(3),
        "main/test-00000-of-00002.jsonl": lines(1, 2),
        "socratic/test.jsonl": lines(4),
        "main.py": "raise SystemExit('ran')",
    }
    return hub("owner/gsm", files)


def answers(source, limit=None):
    return [record.fields["answer"] for record in read_data(source, limit)]


def test_a_split_is_the_files_that_the_card_names(gsm, hub):
    assert answers("hub:owner/gsm/main/test") == [1, 2, 3]
    assert answers("hub:owner/gsm/test", limit=2) == [1, 2]
    assert answers("hub:owner/gsm/socratic/test") == [4]
    assert answers("hub:owner/gsm/socratic/test.jsonl@main") == [4]
    assert len(GenerationTask(data="hub:owner/gsm/main/test", split=[0.7, 0.3])) == 2
    hub("owner/gsm", {"README.md": CARD, "main/test-1.jsonl": lines(9)}, "d" * 40, "v2")
    assert answers("hub:owner/gsm/main/test@v2") == [9]
    assert answers("hub:owner/gsm/main/test@" + "c" * 40) == [1, 2, 3]


def test_without_a_card_the_usual_names_are_looked_for(hub):
    hub("owner/plain", {"data/test.csv": "answer\n1\n", "train-0.jsonl": lines(2), "test.py": "x"})
    assert answers("hub:owner/plain/test") == ["1"]
    assert answers("hub:owner/plain/train") == [2]
    hub("owner/twice", {"a/test.jsonl": lines(1), "a/test.csv": "answer\n1\n"})
    assert answers("hub:owner/twice/a/test") == [1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("main/tset", r"there are 'hub:owner/gsm/main/train, .*did you mean test"),
        ("mian/test", "no such split; .*did you mean main"),
        ("a/b/c", "no such split"),
        ("outside/train", "outside of it"),
        ("main/none.jsonl", "no files .*Scripts of data sets are never run"),
        ("main.py", "no such split"),
        ("test@other", "hub:owner/gsm/test@other: the Hugging Face hub cannot be reached"),
        ("../test", "is no data set; write hub:owner/name/split"),
        ("", "is no data set"),
        ("test@", "is no data set"),
        ("te*t.jsonl", "is no data set"),
    ],
)
def test_what_there_is_not(gsm, name, message):
    with pytest.raises(DataError, match=message):
        read_data(f"hub:owner/gsm/{name}")


def test_a_link_out_of_the_data_set_is_refused(hub, tmp_path):
    snapshot = hub("owner/bad", {"a.jsonl": lines(1)})
    (tmp_path / "secret.jsonl").write_text(lines(2))
    (snapshot / "test.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(DataError, match="leads out of the data set"):
        read_data("hub:owner/bad/test")


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"configs": 3},
        {"configs": [3, {"config_name": 1}, {"config_name": "a"}]},
        {"configs": [{"config_name": "a", "data_files": [3, {"split": 1, "path": "x"}]}]},
    ],
)
def test_a_card_that_makes_no_sense_names_no_splits(card):
    assert card_splits(card) == {}


def test_a_card_with_one_list_of_files_has_a_train_split():
    card = {"configs": [{"config_name": "a", "data_files": ["b.csv", "c.csv"]}]}
    assert card_splits(card) == {"a": {"train": ["b.csv", "c.csv"]}}
