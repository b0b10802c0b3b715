"""What a finished run gives to Python, read from a directory as a run leaves it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rich.console

import evojax_merge as em
from evojax_merge.api import evolving
from evojax_merge.documents.terminal import notebook_console
from evojax_merge.models.segments import Segment
from evojax_merge.report import frames
from evojax_merge.report.front import FOLDER, Front, Member
from evojax_merge.report.results import Result, save_results
from evojax_merge.sources.reference import Ingredient
from tests.fitness.tasks import Counted, several
from tests.processes import environment

NAMED = "<b>\x1b[2J</b>"


@pytest.fixture
def folder(tmp_path) -> Path:
    task = several({"math": 0.5, "text": 0.5}, math=Counted(8), text=Counted(4))
    recipe = em.Recipe(
        operator="evojax_merge.operators.linear",
        arguments={},
        base=None,
        sources=(Ingredient("a"), Ingredient("b")),
        segments=(Segment("all", ("mlp",), 0, 2),),
        coefficients={"weight": np.float32([[0.5], [0.25]])},
    )
    right = np.float64([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0])
    results = [Result.of(name, task, right) for name in (NAMED, "evolved")]
    save_results(results, tmp_path / "results.json")
    recipe.save(tmp_path / "recipe.yaml")
    (tmp_path / FOLDER).mkdir()
    recipe.save(tmp_path / FOLDER / "0.yaml")
    member = Member(f"{FOLDER}/0.yaml", {"search": {"math": 0.5, "text": 0.75}})
    measures = tuple(one.measure for one in task.tasks.values())
    Front("search", ("math", "text"), (member,), measures).save(tmp_path)
    row = {"search": "evolved", "generation": 0, "fitness": 0.5, "genotype": [0.1, 0.2]}
    row |= {"items": [1.0, 0.0], "item_evaluations": 2, "seconds": 0.5}
    lines = [json.dumps(row | {"candidate": number}) for number in range(3)]
    (tmp_path / "history.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_finished_run_is_read(folder):
    run = em.read_run(folder)
    assert run.model is None
    assert run.result.name == "evolved"
    assert run.recipe.coefficients["weight"].tolist() == [[0.5], [0.25]]
    history = run.history
    assert list(history["candidate"]) == [0, 1, 2]
    assert history["genotype"][0] == [0.1, 0.2]
    table = run.table
    assert table.set_index("name").loc["evolved", "text.score"] == 0.75
    (member,) = run.front
    assert member.scores["search"]["text"] == 0.75
    assert member.recipe.operator == run.recipe.operator


def test_runs_say_in_a_line_what_they_are(folder):
    run = em.read_run(folder)
    assert repr(run) == (
        f"Run({folder}: Result(evolved: fitness, % 62.5 (35.9 – 80.0); math 50.0, text 75.0; 12 "
        "items of the test split (8 of math, 4 of text)), "
        "Recipe(linear of a, b, weight=[0.5, 0.25]))"
    )
    assert "\x1b" not in repr(run.results[0])


def test_names_do_not_act_in_a_notebook(folder):
    html = em.read_run(folder)._repr_html_()
    assert "<td>62.5</td>" in html
    assert "&lt;b&gt;" in html
    assert "\x1b" not in html
    assert "<b>" not in html


def test_a_run_that_is_not_finished_is_refused(folder):
    (folder / "results.json").unlink()
    with pytest.raises(ValueError, match="holds no finished run; finish it with resume"):
        em.read_run(folder)


def test_tables_without_pandas_say_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(frames.PandasError, match=r"pip install 'evojax-merge\[notebook\]'"):
        _ = em.read_run(folder).history


def test_progress_is_shown_in_notebooks_unless_a_console_says_otherwise(monkeypatch, tmp_path):
    assert notebook_console() is None
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    assert notebook_console() is not None
    seen = []
    monkeypatch.setattr(evolving, "_resume", lambda place, console, *terms: seen.append(console))
    quiet = rich.console.Console(quiet=True)
    em.resume(tmp_path)
    em.resume(tmp_path, quiet)
    assert not seen[0].quiet
    assert not seen[0].is_terminal  # a line every few seconds, and no bar
    assert seen[1] is quiet


def test_help_begins_with_the_functions():
    code = "import evojax_merge as em; help(em); print(len(dir(em)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True
    )
    overview, _, rest = done.stdout.partition("PACKAGE CONTENTS")
    functions = [name for name in em.__all__ if name[0].islower()]
    assert all(f"\n    {name}(" in overview for name in functions)
    assert all(f"\n    {name}(" in rest for name in functions)
    assert int(done.stdout.split()[-1]) == len(em.__all__)
