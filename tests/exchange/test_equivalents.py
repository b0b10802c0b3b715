"""What mergekit can express of each operator, and what is refused by name."""

import re
from pathlib import Path

import numpy as np
import pytest

from evojax_merge.config import conf_directory
from evojax_merge.exchange import ExchangeError, to_mergekit
from evojax_merge.exchange.equivalents import OWN, express
from evojax_merge.exchange.methods import METHODS
from tests.exchange.written import RANDOM, SETTINGS, written

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
TABLE = PAGE.read_text(encoding="utf-8").split("## Table")[1].split("\n## ")[0]
ROWS = re.findall(r"^\| (`.+?`) \| .+ \| ([^|]+) \|$", TABLE, re.MULTILINE)
NAMES = {}
for operators, methods in ROWS:
    named = re.findall(r"`(\w+)`", operators)
    listed = methods.split(", ")
    NAMES |= zip(named, listed if len(listed) > 1 else listed * len(named), strict=True)
"""Of every operator in the table of the documentation: mergekit's name, or –."""
OPERATORS = sorted(path.stem for path in (conf_directory() / "operator").glob("*.yaml"))
EXPRESSED = sorted(name for name in NAMES if NAMES[name] != "–")


def test_the_table_names_every_operator_and_method():
    assert sorted(NAMES) == OPERATORS
    assert {NAMES[name] for name in EXPRESSED} == METHODS.keys()
    # task_vectors is what it is composed to; the table gives it no one name
    assert {*SETTINGS, *RANDOM} == {*EXPRESSED, "task_vectors"}


@pytest.mark.parametrize("name", EXPRESSED)
def test_what_has_a_name_there_is_written_by_it(models, name):
    assert express(OWN + name, {}).method == NAMES[name]
    assert f"merge_method: {NAMES[name]}\n" in to_mergekit(written(models, name, {}))


@pytest.mark.parametrize("name", sorted({*OPERATORS} - {*EXPRESSED, "task_vectors"}))
def test_what_has_none_is_refused_by_name(name):
    with pytest.raises(ExchangeError, match=rf"no method for the operator .*\.{name}; it has"):
        express(OWN + name, {})


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("slerp", {"dot_threshold": 0.99}, "no dot_threshold 0.99, only 0.9995"),
        ("sce", {"lam": 0.5}, "no lam of sce 0.5, only 1.0"),
        ("dare_ties", {"rescale": "l2"}, "no rescale 'l2', only None, inverse, l1"),
        ("della", {"rescale": "inverse"}, "no rescale 'inverse', only None, l1"),
        ("breadcrumbs", {"rescale": "linf"}, "no rescale 'linf', only None, l1"),
        ("ties", {"rescale": "l2"}, "no rescale 'l2', only None, l1"),
        ("task_vectors", {"consensus": "count"}, "no method with trim none and consensus count"),
        (
            "task_vectors",
            {"trim": "rank", "consensus": "sum", "rescale": "l2"},
            "no rescale 'l2'",
        ),
    ],
)
def test_settings_that_it_has_not_are_refused_by_name(name, arguments, message):
    with pytest.raises(ExchangeError, match=message):
        express(OWN + name, arguments)


@pytest.mark.parametrize(
    ("name", "coefficient"),
    [(n, c) for n in EXPRESSED for c in express(OWN + n, {}).neutral],
)
def test_coefficients_that_it_has_not_are_refused_by_name(models, name, coefficient):
    given = written(models, name, {})
    given.coefficients[coefficient] = np.full_like(given.coefficients[coefficient], 0.3)
    with pytest.raises(ExchangeError, match=f"{NAMES[name]} has no {coefficient}: it can only be"):
        to_mergekit(given)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("ties", {"lamda": 1.0}, "takes the arguments normalize, rescale, lam"),
        ("ties", {"options": {"a": {"_target_": "os.getcwd"}}}, "'_target_' has no place"),
        ("ties", {"lam": "large"}, "lam"),
        ("ties.ties", {}, "no method for the operator"),
    ],
)
def test_what_apply_would_refuse_is_not_written(operator, arguments, message):
    with pytest.raises(ExchangeError, match=message):
        express(OWN + operator, arguments)
