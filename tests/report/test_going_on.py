"""The commands to go on with are those that work as they stand."""

import shlex

import pytest
import yaml

from evojax_merge.report.going_on import sweep_commands
from evojax_merge.report.jobs import Job
from evojax_merge.report.standing import commands_of


def words_of(found):
    return [shlex.split(text) for text, _ in found]


@pytest.mark.parametrize(
    ("target", "flag"),
    [("evojax_merge.operators.ties", False), ("mine.py:halfway", True), ("mine.ties", True)],
)
def test_code_from_elsewhere_asks_for_trust(target, flag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "my run"
    (run / "export").mkdir(parents=True)
    config = {"operator": {"_target_": target}, "search": {"evaluations": 8}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "front.json").touch()
    found = words_of(commands_of(run, "finished"))
    assert [words[1] for words in found] == ["apply", "apply", "evaluate", "push", "resume"]
    assert all(words[2] == "runs/my run" for words in found)
    assert found[1][3:5] == ["--select", "knee"]
    assert found[4][3] == "search.evaluations=16"
    needing = {words[1] for words in found if "--trust-config" in words}
    assert needing == ({"apply", "evaluate", "resume"} if flag else set())


def test_a_run_that_stopped_goes_on_and_one_that_goes_on_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    best = tmp_path / "run" / "best.yaml"
    building = ["evojax-merge", "apply", "run/best.yaml", "--out", "DIR"]
    assert words_of(commands_of(tmp_path / "run", "running", best)) == [building]
    stopped = words_of(commands_of(tmp_path / "run", "interrupted", best))
    assert stopped == [["evojax-merge", "resume", "run"], building]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (("done", "done"), ["resume", "apply", "report"]),
        (("done", "failed"), ["resume", "apply", "report"]),
        (("done", "running"), ["apply", "report"]),
        (("not begun",), ["resume", "report"]),
    ],
)
def test_a_sweep_goes_on_with_what_is_left_or_with_a_larger_budget(states, words):
    jobs = [Job(str(number), (), state, "") for number, state in enumerate(states)]
    found = words_of(sweep_commands("sweep", {}, jobs))
    assert [one[1] for one in found] == words
    longer = found[0] == ["evojax-merge", "resume", "sweep", "search.evaluations=N"]
    assert longer == (set(states) == {"done"})
