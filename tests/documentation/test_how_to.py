"""What the how-to pages build works: the files are written, and the commands run, as they say."""

import sys

import numpy as np
import pytest

from evojax_merge import evolve
from evojax_merge.config import build, compose
from tests.documentation.pages import blocks, called

PAGES = ("operator", "strategy", "task")
LITTLE = ["search.evaluations=8", "baselines.random_search=false", "baselines.published=false"]


@pytest.fixture
def overrides(request, tmp_path, monkeypatch):
    """The files of a page in the working directory, and the overrides of its command."""
    page = f"docs/how-to/{request.param}.md"
    for block in blocks("python", page) + blocks("yaml", page):
        path = tmp_path / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (command,) = [c for c in called("evojax-merge", "evolve") if c.page == page]
    assert command.words[2:4] == ("--config-dir", "mine")
    yield list(command.words[4:])
    del sys.modules["my_package"]


@pytest.mark.parametrize("overrides", PAGES, indirect=True)
def test_the_option_is_found_and_built(overrides):
    experiment = build(compose(overrides, "mine"))
    parts = [experiment.operator_target, experiment.strategy.func.__module__]
    parts.append(type(experiment.task).__module__)
    assert any(part.startswith("my_package") for part in parts)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", PAGES, indirect=True)
def test_the_command_runs(overrides):
    run = evolve(compose([*overrides, *LITTLE], "mine"), "run")
    assert np.isfinite(run.result.score)
