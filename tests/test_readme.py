"""What the README says to type works."""

import re
from pathlib import Path

import pytest

from evojax_merge.config import compose
from evojax_merge.fitness.text import unescape

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["run"].result.split == "test"
    assert (tmp_path / "merged" / "model.safetensors").exists()


def test_options_in_the_table_exist():
    table = re.findall(r"^\| `(operator|space|strategy|mesh)` \| (.*) \|$", README, re.MULTILINE)
    assert len(table) == 4
    for group, cell in table:
        names = re.findall(r"`(\w+)`", cell)
        assert names
        for name in names:
            compose([f"{group}={name}"])


def test_the_template_line_makes_a_line_break():
    (line,) = re.findall(r"'(fitness\.template=.*?)'", README)
    template = compose(["fitness=generation", line]).fitness.template
    assert unescape(template) == "Q: {question}\nA:"


@pytest.mark.parametrize("line", re.findall(r"'(space\.coefficients=.*?)'", README))
def test_overrides_compose(line):
    compose(["space=parameter_groups", line])
