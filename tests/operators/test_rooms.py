"""What stands where: papers in front, what they share behind, and few files to read for each."""

import ast
from pathlib import Path

import pytest

from evojax_merge import operators

ROOM = "evojax_merge.operators"
FOLDER = Path(operators.__file__).parent

FOR_TIES = {
    "ties",
    "steps.task_vectors",
    "steps.trimming",
    "steps.cuts",
    "base",
}
"""All that a reader needs to know what a candidate of TIES computes."""


def imported(module):
    """The modules of this room that one imports, those of statistics as one."""
    tree = ast.parse((FOLDER / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ROOM):
            yield node.module.removeprefix(ROOM).lstrip(".") or "__init__"


def closure(module, without):
    found, left = set(), [module]
    while left:
        one = left.pop()
        if one not in found and not one.startswith(without):
            found.add(one)
            left += imported(one)
    return found


def modules(folder=""):
    return sorted(path.stem for path in (FOLDER / folder).glob("*.py") if path.stem != "__init__")


def test_five_files_say_what_a_candidate_of_ties_computes():
    # `Operator` names the evidence that other operators ask for.
    assert closure("ties", without=("statistics", "evidence")) == FOR_TIES


@pytest.mark.parametrize("module", modules("steps"))
def test_a_step_of_a_candidate_knows_no_paper_and_nothing_of_how_statistics_are_made(module):
    allowed = ("steps", "base", "evidence")
    assert all(name.startswith(allowed) for name in imported(f"steps.{module}"))


@pytest.mark.parametrize("module", modules("statistics"))
def test_statistics_know_no_paper(module):
    allowed = ("steps", "base", "statistics")
    assert all(name.startswith(allowed) for name in imported(f"statistics.{module}"))


@pytest.mark.parametrize("module", sorted({*modules()} - {"merge"}))
def test_papers_use_the_door_to_statistics(module):
    assert not any(name.startswith("statistics.") for name in imported(module))
