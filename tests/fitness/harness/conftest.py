"""Tasks of lm-evaluation-harness on the disk, and a model that answers them."""

import shutil
from pathlib import Path

import pytest

from evojax_merge import api
from tests.fitness.harness.folder import QUICKSTART, write_tasks

CHAT = (
    "{% for message in messages %}{{ message.role[0] }}{{ message.content }}"
    "{% if not loop.last or add_generation_prompt %}\n{% endif %}{% endfor %}"
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, offline) -> Path:
    return write_tasks(tmp_path_factory.mktemp("harness") / "tasks")


@pytest.fixture(scope="session")
def offline(tmp_path_factory):
    """Data sets are kept in a folder of the tests' own, and no hub is asked."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed; `make parity` installs it")
    import datasets

    patch = pytest.MonkeyPatch()
    patch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("data_sets"))
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()
    patch.undo()


@pytest.fixture(scope="session")
def japanese():
    return api.load(QUICKSTART / "sources" / "japanese")


@pytest.fixture(scope="session")
def chatty(tmp_path_factory) -> Path:
    """The same model with a chat template."""
    path = tmp_path_factory.mktemp("chatty") / "model"
    shutil.copytree(QUICKSTART / "sources" / "japanese", path)
    (path / "chat_template.jinja").write_text(CHAT, encoding="utf-8")
    return path
