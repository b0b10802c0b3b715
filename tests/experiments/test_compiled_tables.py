"""The tables of compiled programs are those of the rows that were measured."""

import json

from experiments.benchmarks.compiled_tables import PAGE, RESULTS, filled, tables


def test_the_page_has_what_was_measured():
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, tables(json.loads(RESULTS.read_text()))) == page


def test_a_row_is_a_line_of_its_table():
    shared = {"command": "python experiments/benchmarks/compiled.py", "peer_value": 0.0, "ratio": 0}
    quantities = {
        "compiling": {"value": 12.34},
        "arguments": {"value": 57.93},
        "beside them": {"value": 0.0},
        "moved": {"value": 60.0, "peer_value": 57.93, "ratio": 57.93 / 60},
    }
    rows = [
        {**shared, "name": f"v5p: merge linear of Mistral 7B: {name}", **row}
        for name, row in quantities.items()
    ]
    made = tables([*rows, {**shared, "name": "other", "command": "python other.py"}])
    assert made["merge"].splitlines()[2:] == [
        "| linear of Mistral 7B | v5p | 60.00 | 57.93 | 1.04 |",
    ]
    assert made["memory"].splitlines()[2:] == [
        "| merge linear of Mistral 7B | v5p | 57.9 | 0 | 12.3 |",
    ]
    assert len(made["decode"].splitlines()) == 2


def test_all_else_on_the_page_stays():
    page = "before\n<!-- merge -->\nold\n<!-- end -->\nafter\n<!-- end -->\n"
    new = filled(page, {"merge": "new"})
    assert new == "before\n<!-- merge -->\n\nnew\n\n<!-- end -->\nafter\n<!-- end -->\n"
