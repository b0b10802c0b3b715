"""What the README says to type works."""

import re
from pathlib import Path

import pytest

from evojax_merge import evolve
from evojax_merge.config import compose, conf_directory
from evojax_merge.fitness.text import unescape

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = next(block for block in blocks("python") if "em.evolve" in block)
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


def test_every_operator_is_in_the_table():
    table = README.split("## Operators")[1].split("```")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line[:60])}
    files = {path.stem for path in (conf_directory() / "operator").glob("*.yaml")}
    assert files <= named


def test_an_operator_of_ones_own(tmp_path, monkeypatch):
    (code,) = [block for block in blocks("python") if "halfway" in block]
    (tmp_path / "my_package.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine" / "operator").mkdir(parents=True)
    (tmp_path / "mine/operator/halfway.yaml").write_text("_target_: my_package.halfway\n")
    overrides = ["+experiment=digits", "operator=halfway", "search.evaluations=8"]
    config = compose([*overrides, "baselines.random_search=false"], tmp_path / "mine")
    run = evolve(config, tmp_path / "run")
    assert run.recipe.operator == "my_package.halfway"


def test_the_template_line_makes_a_line_break():
    (line,) = re.findall(r"'(fitness\.template=.*?)'", README)
    template = compose(["fitness=generation", line]).fitness.template
    assert unescape(template) == "Q: {question}\nA:"


@pytest.mark.parametrize("line", re.findall(r"'(space\.(?:coefficients|groups)=.*?)'", README))
def test_overrides_compose(line):
    compose(["space=parameter", line])
