"""Tables of the documentation name what there is."""

import re

import pytest

from evojax_merge.config import compose, conf_directory
from evojax_merge.fitness.text import unescape
from evojax_merge.models import FAMILIES
from tests.documentation.pages import PAGES

OWN_MODELS = PAGES["docs/own-models.md"]


def options(group: str) -> set[str]:
    return {path.stem for path in (conf_directory() / group).glob("*.yaml")}


def first_cells(page: str) -> list[str]:
    return re.findall(r"^\| (.+?) \|", PAGES[page], re.MULTILINE)


def named(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize(
    "group", ["operator", "space", "strategy", "fitness", "mesh", "+experiment"]
)
def test_options_in_the_table_exist(group):
    (cell,) = re.findall(rf"^\| `{re.escape(group)}` \| (.*) \|$", OWN_MODELS, re.MULTILINE)
    assert named(cell)
    assert named(cell) <= options(group.removeprefix("+"))


@pytest.mark.parametrize("group", ["space", "fitness", "+experiment"])
def test_the_table_has_every_option(group):
    (cell,) = re.findall(rf"^\| `{re.escape(group)}` \| (.*) \|$", OWN_MODELS, re.MULTILINE)
    assert options(group.removeprefix("+")) <= named(cell)


@pytest.mark.parametrize(
    ("page", "group"), [("docs/spaces.md", "space"), ("docs/tasks.md", "fitness")]
)
def test_pages_have_every_option(page, group):
    assert options(group) <= named(" ".join(first_cells(page)))


def test_strategies_exist():
    rows = re.findall(r"^\| [\w' ]+ \| (.*) \|$", PAGES["docs/strategies.md"], re.MULTILINE)
    assert named(" ".join(rows)) - {"optuna"} <= options("strategy")


def test_every_operator_is_in_both_tables():
    assert options("operator") <= named(" ".join(first_cells("docs/operators.md")))
    assert options("operator") - {"own"} <= named(PAGES["README.md"])


def test_every_family_is_in_the_table():
    (table,) = re.findall(r"^\| family .*?\n\n", PAGES["docs/models.md"], re.MULTILINE | re.DOTALL)
    assert {kind for family in FAMILIES for kind in family.model_types} <= named(table)


def test_a_template_line_makes_a_line_break():
    (line,) = re.findall(r"'(fitness\.template=.*?)'", OWN_MODELS)
    template = compose(["fitness=generation", line]).fitness.template
    assert unescape(template) == "Q: {question}\nA:"
