"""Curves of searches: written, read and compared."""

import io
from pathlib import Path

from rich.console import Console

from experiments.search.curves import Point, Search, against, ends, load

CURVE = (Point(4, 40, 1.0, 0.3), Point(8, 80, 2.0, 0.5), Point(12, 120, 3.0, 0.4))
SEARCH = Search("cma_es", 1, 120, CURVE)
LATE = Search("random", 1, 120, (*CURVE[:1], Point(12, 120, 3.0, 0.5)))


def shown(table: object) -> str:
    text = io.StringIO()
    Console(width=200, file=text).print(table)
    return text.getvalue()


def test_runs_are_read_as_they_were_written(tmp_path: Path) -> None:
    SEARCH.save(tmp_path)
    assert load(tmp_path) == [SEARCH]


def test_target_is_reached_where_it_first_is() -> None:
    assert SEARCH.reached(0.5, 120) == CURVE[1]


def test_target_is_not_reached_beyond_the_cap() -> None:
    assert SEARCH.reached(0.5, 79) is None


def test_score_is_the_last_one_within_so_many_items() -> None:
    assert SEARCH.at(119) == 0.5


def test_searches_are_compared_by_expected_items() -> None:
    (row,) = [
        line
        for line in shown(against([SEARCH, LATE], "cma_es", 120, [0.5])).splitlines()
        if "random" in line
    ]
    assert "120" in row
    assert "1.50 (1.50 – 1.50)" in row


def test_where_no_search_arrived_none_is_ahead() -> None:
    table = shown(against([SEARCH, LATE], "cma_es", 120, [0.9]))
    (row,) = [line for line in table.splitlines() if "random" in line]
    assert row.count("–") == 2


def test_ends_are_those_of_each_contestant() -> None:
    rows = shown(ends([SEARCH, LATE], 0.5, 1200)).splitlines()
    (row,) = [line for line in rows if "cma_es" in line]
    assert "1 of 1" in row
    assert "40.0 (40.0 – 40.0)" in row
