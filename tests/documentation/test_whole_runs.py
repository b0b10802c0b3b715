"""The commands of the documentation run to their end, on the bundled checkpoints and few items."""

import shutil
from importlib.util import find_spec

import pytest

from evojax_merge.cli import COMMANDS, main
from tests.documentation.pages import blocks, called, name_of
from tests.documentation.test_commands import EVOLVE, NEEDS
from tests.documentation.workspace import filled_in, furnish

pytestmark = pytest.mark.slow

FRONT = [
    "model.base=base",
    "model.sources=[math,japanese]",
    "fitness=[generation,perplexity]",
    "fitness.tasks.generation.data=sums.jsonl",
    "fitness.tasks.generation.test=test.jsonl",
    "fitness.tasks.generation.max_new_tokens=2",
    "fitness.tasks.perplexity.data=texts.jsonl",
    "fitness.tasks.perplexity.test=texts.jsonl",
    "strategy=nsga2",
    "strategy.population_size=8",
    "search.evaluations=8",
    "baselines.published=false",
    "hydra.run.dir=RUN_DIR",
]
LATER = [name for name in COMMANDS if name != "evolve"]


@pytest.fixture(scope="module")
def after_a_run(tmp_path_factory):
    directory = furnish(tmp_path_factory.mktemp("after"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        main(["evolve", *FRONT])
    return directory


@pytest.mark.parametrize("page", sorted({c.page for n in LATER for c in called("evojax-merge", n)}))
def test_what_follows_a_run(page, after_a_run, tmp_path, monkeypatch):
    shutil.copytree(after_a_run, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if merges := blocks("yaml", "docs/mergekit.md"):
        (tmp_path / "merge.yml").write_text(merges[0].text)
    own = [c for c in called("evojax-merge") if c.page == page and c.words[1] in LATER]
    for command in sorted(own, key=lambda c: c.words[1] == "convert"):
        if "DIR" in command.words and "--out" in command.words:
            shutil.rmtree("DIR", ignore_errors=True)
        if command.words[1] == "convert":
            (tmp_path / "merge.yml").unlink()
        main(list(command.words[1:]))


@pytest.mark.parametrize("command", EVOLVE, ids=name_of)
def test_searches(command, tmp_path, monkeypatch):
    monkeypatch.chdir(furnish(tmp_path))
    words = filled_in(command.words[2:])
    if "fitness.data=features.npz" in words or any("evollm" in word for word in words):
        pytest.skip("needs a model that is not bundled")
    if any(word in words and find_spec(module) is None for word, module in NEEDS.items()):
        pytest.skip("needs a package that the tests have not")
    main(["evolve", *words, *_little(words)])


def _little(words: list[str]) -> list[str]:
    """Overrides with which a search is over soon."""
    if "--cfg" in words:
        return []
    found = ["search.evaluations=8", "search.finalists=1", "export=false"]
    found += [f"baselines.{name}=false" for name in ("sources", "published", "random_search")]
    return found
