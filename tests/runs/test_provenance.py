"""What is kept of where a run's numbers come from."""

import hashlib
import json
import subprocess

import pytest
from omegaconf import OmegaConf

import evojax_merge as em
from evojax_merge.config import named_files
from evojax_merge.report.run_files import PROVENANCE_FILE
from evojax_merge.runs.machine import checkout, machine
from evojax_merge.runs.provenance import recorded, shown_command


def sessions(folder):
    return json.loads((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))["sessions"]


def test_each_session_says_when_it_began_and_how_it_ended(tmp_path):
    with recorded(tmp_path, {"seed": 1}):
        (begun,) = sessions(tmp_path)
        assert begun["seed"] == 1
        assert begun["ended"] is None
    with pytest.raises(KeyboardInterrupt), recorded(tmp_path, {"seed": 2}):
        raise KeyboardInterrupt("SIGTERM\nand more")
    first, second = sessions(tmp_path)
    assert first == begun | {"ended": first["ended"], "outcome": "finished"}
    assert first["started"] <= first["ended"] <= second["started"] <= second["ended"]
    assert (second["seed"], second["outcome"]) == (2, "KeyboardInterrupt: SIGTERM")


def test_a_run_that_goes_on_with_other_items_says_so(tmp_path):
    with recorded(tmp_path, {"items": {"search": "1", "test": "2"}}):
        pass
    with recorded(tmp_path, {"items": {"search": "1", "test": "2"}}):
        pass
    with (
        pytest.warns(UserWarning, match="the test items are not those that the run was begun with"),
        recorded(tmp_path, {"items": {"search": "1", "test": "3"}}),
    ):
        pass
    assert len(sessions(tmp_path)) == 3


@pytest.mark.parametrize("text", ["{", "[]", '{"sessions": 1}'])
def test_a_damaged_file_does_not_stop_a_run(tmp_path, text):
    (tmp_path / PROVENANCE_FILE).write_text(text)
    with pytest.warns(UserWarning, match="cannot be read, and is dropped"), recorded(tmp_path, {}):
        pass
    assert len(sessions(tmp_path)) == 1


def test_a_command_is_kept_without_secrets():
    words = ["/usr/bin/python3", "-m", "x", "--hf-token", "hf_1", "a.api_key=s", "--password=p"]
    words += ["model.tokenizer=b", "max_new_tokens=8", "url=https://me:pw@host/x", "--token", "t=u"]
    assert shown_command(words) == [
        "python3", "-m", "x", "--hf-token", "…", "a.api_key=…", "--password=…",
        "model.tokenizer=b", "max_new_tokens=8", "url=https://…@host/x", "--token", "…",
    ]  # fmt: skip


def test_the_machine_is_told_without_environment_variables(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hf_very_secret")
    told = machine()
    assert told["versions"]["evojax-merge"] == em.__version__
    assert {"jax", "jaxlib", "flax", "evosax", "orbax-checkpoint", "transformers"} <= set(
        told["versions"]
    )
    assert told["devices"]["platform"] == "cpu"
    assert told["cpu"]["cores"] >= 1
    assert "hf_very_secret" not in json.dumps(told)


def test_a_checkout_is_told_by_its_revision_and_whether_it_was_changed(tmp_path):
    assert checkout(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "file").write_text("a")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *words], check=True)
    clean = checkout(tmp_path)
    assert len(clean["revision"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "file").write_text("b")
    assert checkout(tmp_path) == clean | {"dirty": True}


def test_files_of_data_are_told_by_their_hashes(tmp_path):
    (tmp_path / "a.jsonl").write_text("{}")
    path = str(tmp_path / "a.jsonl")
    fitness = {
        "data": path,
        "test": None,
        "template": "{question}\n",
        "tasks": {"b": {"x": [path]}},
    }
    found = named_files(OmegaConf.create({"fitness": fitness, "operator": {"data": "missing"}}))
    wanted = {"path": path, "sha256": hashlib.sha256(b"{}").hexdigest()}
    assert found == {"fitness.data": wanted, "fitness.tasks.b.x[0]": wanted}
