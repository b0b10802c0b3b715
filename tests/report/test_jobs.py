"""How jobs stand, as their folders tell."""

import io

import pytest
import yaml
from rich.console import Console

from evojax_merge.report.jobs import counted, jobs_table, look_at
from evojax_merge.search.lock import locked


@pytest.fixture
def job(tmp_path):
    folder = tmp_path / "0"
    folder.mkdir()
    (folder / "overrides.yaml").write_text(yaml.safe_dump(["seed=1", "operator=ties"]))
    return folder


def test_a_job_stands_as_its_folder_says(tmp_path, job):
    found = look_at(tmp_path, "0")
    assert (found.state, found.why) == ("not begun", "")
    assert found.overrides == ("seed=1", "operator=ties")

    (job / "checkpoints").mkdir()
    assert look_at(tmp_path, "0").state == "half done"
    (job / "history.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"a"')
    found = look_at(tmp_path, "0")
    assert (found.state, found.why) == ("half done", "2 candidates are kept")

    assert look_at(tmp_path, "0", "OSError: full").why == "OSError: full; 2 candidates are kept"
    (job / "error.txt").write_text("no such file\n")
    found = look_at(tmp_path, "0", "told as well")
    assert (found.state, found.why) == ("failed", "no such file; 2 candidates are kept")

    with locked(job):
        found = look_at(tmp_path, "0")
        assert found.state == "running"
        assert found.why.startswith("by process ")
    assert look_at(tmp_path, "0").state == "failed"

    (job / "finished").touch()
    assert look_at(tmp_path, "0").state == "done"


@pytest.mark.parametrize("text", ["[", "a: 1", "\0", "- " * 99])
def test_damaged_overrides_are_none(tmp_path, job, text):
    (job / "overrides.yaml").write_text(text)
    assert all(isinstance(one, str) for one in look_at(tmp_path, "0").overrides)


def test_the_table_names_those_that_are_not_done(tmp_path, job):
    other = tmp_path / "1"
    other.mkdir()
    (other / "overrides.yaml").write_text(yaml.safe_dump(["seed=1", "operator=sce"]))
    (other / "error.txt").write_text("a \x1b[31mred\x1b[0m [bold]error")
    (job / "finished").touch()
    jobs = [look_at(tmp_path, name) for name in ("0", "1")]
    console = Console(width=120, file=io.StringIO())
    console.print(jobs_table(jobs))
    printed = console.file.getvalue()
    assert "operator=sce" in printed
    assert "operator=ties" not in printed
    assert "seed=1" not in printed
    assert "a \\x1b[31mred\\x1b[0m [bold]error" in printed
    assert counted(jobs) == "1 done, 1 failed"
