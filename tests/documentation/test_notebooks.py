"""The notebooks of the documentation run, and show what they gave when they were written."""

import json
import re
from pathlib import Path

import pytest

import evojax_merge as em
from tests.documentation.pages import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MOST = 200_000


def code_cells(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def texts(cell: dict) -> str:
    """What a cell printed and showed as text."""
    found = []
    for output in cell["outputs"]:
        found += output.get("text", ()), output.get("data", {}).get("text/plain", ())
    return "".join("".join(part) for part in found)


def test_none_is_left_out():
    assert [path.stem for path in NOTEBOOKS] == ["first-steps", "sweep"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_shows_what_it_gave(path):
    assert path.stat().st_size < MOST
    cells = code_cells(path)
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
    assert sum(bool(cell["outputs"]) for cell in cells) >= len(cells) - 1
    shown = "".join(map(texts, cells))
    assert not any(place in shown for place in ("/home/", "/tmp/", "/root/", "Users"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_calls_exists(path):
    source = "\n".join("".join(cell["source"]) for cell in code_cells(path))
    used = set(re.findall(r"\bem\.(\w+)", source))
    assert used
    assert used <= set(em.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    kept, again = code_cells(path), [one for one in notebook.cells if one.cell_type == "code"]
    assert "Recipe(task_arithmetic of low, high on base" in "".join(map(texts, again))
    assert [bool(texts(one)) for one in again] == [bool(texts(one)) for one in kept]
