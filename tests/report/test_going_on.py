"""The commands to go on with are those that work as they stand."""

import shlex

import pytest
import yaml

from evojax_merge.report.standing import commands


@pytest.mark.parametrize(
    ("target", "flag"),
    [("evojax_merge.operators.ties", False), ("mine.py:halfway", True), ("mine.ties", True)],
)
def test_code_from_elsewhere_asks_for_trust(target, flag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "my run"
    (run / "export").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"operator": {"_target_": target}}))
    found = [shlex.split(one) for one, _ in commands(run, run / "recipe.yaml", finished=True)]
    assert [words[1] for words in found] == ["apply", "evaluate", "push", "resume", "show"]
    assert all(words[2] == "runs/my run" for words in found)
    needing = {words[1] for words in found if "--trust-config" in words}
    assert needing == ({"apply", "evaluate", "resume"} if flag else set())
