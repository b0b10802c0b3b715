"""What the README says to type works."""

import re
from pathlib import Path

import pytest

from evojax_merge.config import compose

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    assert (tmp_path / "merged" / "model.safetensors").exists()


def test_options_in_the_table_exist():
    table = re.findall(r"^\| `(operator|space|strategy|mesh)` \| (.*) \|$", README, re.MULTILINE)
    assert len(table) == 4
    for group, cell in table:
        names = re.findall(r"`(\w+)`", cell)
        assert names
        for name in names:
            compose([f"{group}={name}"])


@pytest.mark.parametrize("line", re.findall(r"'(space\.coefficients=.*?)'", README))
def test_overrides_compose(line):
    compose(["space=parameter_groups", line])
