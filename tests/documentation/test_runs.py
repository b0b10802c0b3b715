"""The commands of the documentation at work: searches begin, and what follows a run runs."""

import shutil
from importlib.util import find_spec

import pytest

from evojax_merge import evolve
from evojax_merge.cli import main
from evojax_merge.commands.app import COMMANDS
from evojax_merge.config import compose
from tests.documentation.pages import blocks, called, name_of
from tests.documentation.test_commands import EVOLVE, NEEDS
from tests.documentation.workspace import filled_in, furnish, shortened

pytestmark = pytest.mark.slow

LATER = [name for name in COMMANDS if name not in ("evolve", "convert")]
"""What a run of classifiers can be followed by; `tests/exchange` converts recipes."""
FRONT = [
    "+experiment=digits_halves",
    "fitness=several",
    "+fitness@fitness.tasks.generation=digits",
    "+fitness@fitness.tasks.perplexity=digits",
    "fitness.tasks.perplexity.seed=1",
    "strategy=nsga2",
    "strategy.population_size=8",
    "search.evaluations=8",
    "baselines.random_search=false",
    "baselines.published=false",
]
"""A run in seconds, with a front of two tasks that are called as in the documentation."""


@pytest.fixture(scope="module")
def after_a_run(tmp_path_factory):
    directory = furnish(tmp_path_factory.mktemp("after"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        evolve(compose(FRONT), "RUN_DIR")
    return directory


@pytest.mark.parametrize(
    "page",
    # What follows a run of models that draw is run in test_drawing_runs.py and in tests/recipes.
    sorted({c.page for n in LATER for c in called("evojax-merge", n)} - {"docs/images.md"}),
)
def test_what_follows_a_run(page, after_a_run, tmp_path, monkeypatch):
    shutil.copytree(after_a_run, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (merge,) = blocks("yaml", "docs/mergekit.md")
    (tmp_path / "merge.yml").write_text(merge.text)
    for command in called("evojax-merge"):
        if command.page != page or command.words[1] not in LATER:
            continue
        if "--out" in command.words:
            shutil.rmtree("DIR", ignore_errors=True)
        words = [w for w in command.words[1:] if not w.startswith("fitness.data=")]
        words = ["fitness=digits" if word == "fitness=generation" else word for word in words]
        main(words)


class _BegunError(Exception):
    """Raised when a search would begin."""


def _stop() -> None:
    raise _BegunError


@pytest.mark.parametrize("command", [c for c in EVOLVE if "-m" not in c.words], ids=name_of)
def test_searches_begin(command, tmp_path, monkeypatch):
    """With the models read, the space, the strategy and the task made for them."""
    monkeypatch.chdir(furnish(tmp_path))
    words = [word for word in filled_in(command.words[2:]) if word not in ("--cfg", "job")]
    if any(word in words and find_spec(module) is None for word, module in NEEDS.items()):
        pytest.skip("needs a package that the tests have not")
    if "fitness=classification" in words:  # by classifiers
        words = ["+experiment=digits_halves", *(w for w in words if not w.startswith("model."))]
    with pytest.raises(_BegunError):
        evolve(shortened(compose(words)), "run", on_start=_stop)
