"""Every command in the documentation is one that works.

Here commands are read and their configurations built; `test_whole_runs` runs them to the end.
"""

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec

import pytest
from rich.console import Console

from evojax_merge.cli import main
from evojax_merge.commands.app import COMMANDS, app
from evojax_merge.config import build, check_sweep, compose
from tests.documentation.pages import PAGES, ROOT, blocks, called, commands, name_of
from tests.documentation.workspace import filled_in, furnish

EVOLVE = [c for c in called("evojax-merge", "evolve") if not c.page.startswith("docs/how-to/")]
"""But for those with code of a reader's own, which `test_how_to` builds."""
KNOWN = {"evojax-merge", "make", "pip", "python", ".venv/bin/python"}
NEEDS = {"fitness/language=lingua": "lingua", "fitness/language=fasttext": "fasttext"}
"""Options for which a reader has to install something that the tests have not."""
FETCHED = "=lm_eval"
"""How overrides end that choose an option whose data is on the hub."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return furnish(tmp_path_factory.mktemp("workspace"))


def test_no_command_goes_unread():
    assert {command.words[0] for command in commands()} == KNOWN
    assert {command.words[1] for command in called("evojax-merge")} == {
        *COMMANDS,
        "--version",
        "--help",
        "--install-completion",
    }


@pytest.mark.few(35)
@pytest.mark.parametrize("command", EVOLVE, ids=name_of)
def test_configurations_are_built(command, directory, monkeypatch):
    monkeypatch.chdir(directory)
    overrides = filled_in(command.words[2:])
    if "-m" in overrides:
        check_sweep([word for word in overrides if word != "-m"])
        return
    for flag in ("--cfg", "job", "--dry-run"):
        if flag in overrides:
            overrides.remove(flag)
    config = compose(overrides)
    missing = any(word in overrides and find_spec(module) is None for word, module in NEEDS.items())
    if not missing and not any(word.endswith(FETCHED) for word in overrides):
        build(config)


@pytest.mark.parametrize(
    "command",
    [c for name in COMMANDS if name != "evolve" for c in called("evojax-merge", name)],
    ids=name_of,
)
def test_arguments_are_read(command):
    read = []

    def carry_out(name, **options):
        module = importlib.import_module(f"evojax_merge.commands.{name}")
        inspect.signature(module.run).bind(Console(), **options)
        read.append(name)

    app(list(command.words[1:]), obj=carry_out, standalone_mode=False)
    assert read == [command.words[1]] or "--help" in command.words


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_the_program_tells_of_itself(flag, capsys):
    main([flag])
    assert "evojax-merge" in capsys.readouterr().out


def test_targets_exist():
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = {command.words[1] for command in called("make")}
    assert asked <= set(targets)
    assert {"docs", "house", "evolve"} <= asked


def test_extras_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for command in called("pip"):
        assert command.words[1] == "install"
        for word in command.words[2:]:
            if extras := re.fullmatch(r"\.\[(.+)\]", word):
                assert set(extras[1].split(",")) <= project["optional-dependencies"].keys()
            elif word.endswith(".txt"):
                assert (ROOT / word).exists()
            else:
                assert word in {"--constraint", ".", "evojax_merge-*.whl", "jax[cuda12]"}


@pytest.mark.parametrize("command", called("python") + called(".venv/bin/python"), ids=name_of)
def test_scripts_exist_and_know_their_flags(command):
    words = command.words[1:]
    if words[:2] == ("-m", "pytest"):
        assert (ROOT / words[2]).is_dir()
        return
    named = words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0]
    code = (ROOT / named).read_text(encoding="utf-8")
    for flag in (word for word in words if re.match(r"\[?--\w", word)):
        assert flag.strip("[]") in code


def test_the_drawing_is_that_of_the_script():
    (drawing,) = [block for block in blocks("text", "docs/design.md") if block.title]
    assert drawing.title == "python docs/house.py"
    script = [sys.executable, ROOT / "docs" / "house.py", "--strict"]
    printed = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert printed.splitlines()[:-1] == drawing.text.splitlines()  # the last line counts arrows


def test_constraints_are_exact():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+", line) for line in lines)
    assert "mkdocs-material" in {line.partition("==")[0] for line in lines}


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 150
