"""What the how-to pages build works: the files are written, and the commands run, as they say."""

import sys

import numpy as np
import pytest

from evojax_merge import evolve
from evojax_merge.config import build, compose, own_code_of, plain_of
from tests.documentation.pages import ROOT, blocks, called

PAGES = ("measure", "operator", "space", "strategy", "task")
LITTLE = ["search.evaluations=8", "baselines.random_search=false", "baselines.published=false"]
COMMANDS = [
    command
    for page in PAGES
    for command in called("evojax-merge", "evolve")
    if command.page == f"docs/how-to/{page}.md"
]


@pytest.fixture
def overrides(request, tmp_path, monkeypatch):
    """The files of a command's page in the working directory; its folder of options, and overrides.

    The page is followed as it says: nothing is made importable.
    """
    for language in ("python", "yaml", "json"):
        for block in blocks(language, request.param.page):
            if block.title is not None:
                path = tmp_path / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = list(request.param.words[2:])
    if words[0] != "--config-dir":
        return None, words
    return words[1], words[2:]


def name_of(command):
    return f"{command.page}: {' '.join(command.words[2:])}"


@pytest.mark.parametrize("overrides", COMMANDS, indirect=True, ids=map(name_of, COMMANDS))
def test_the_command_is_built_from_code_of_ones_own(overrides, tmp_path):
    folder, words = overrides
    config = compose(words, folder)
    build(config)
    (files,) = own_code_of(plain_of(config)).values()
    assert files
    assert all((tmp_path / file).is_file() for file in files)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", COMMANDS, indirect=True, ids=map(name_of, COMMANDS))
def test_the_command_runs(overrides):
    folder, words = overrides
    run = evolve(compose([*words, *LITTLE], folder), "run")
    assert np.isfinite(run.result.score)
    assert (run.directory / "own_code.yaml").exists()


def test_every_page_has_a_command():
    assert {command.page for command in COMMANDS} == {f"docs/how-to/{page}.md" for page in PAGES}
    assert all((ROOT / command.page).is_file() for command in COMMANDS)
