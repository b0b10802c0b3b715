"""When the evolved merge is no better than others, that is said, with the interval."""

import numpy as np

from evojax_merge.report.remarks import no_better
from evojax_merge.report.results import Result
from tests.fitness.tasks import Counted

ITEMS = 100


def remarks(chance=(), **right: int) -> list[str]:
    """The remarks on methods that are right on the first so many items."""
    task = Counted(ITEMS).on("test")
    items = {name: (np.arange(ITEMS) < count).astype(float) for name, count in right.items()}
    results = [Result.of(name, task, scores) for name, scores in items.items()]
    return list(no_better(results, items, "evolved", chance))


def test_a_merge_that_is_better_needs_no_remark():
    assert remarks(base=10, math=50, evolved=90) == []


def test_the_best_source_that_is_better_is_named_with_the_paired_interval():
    (line,) = remarks(base=10, math=90, evolved=50)
    assert line.startswith("evolved 50.0 is worse than math 90.0 (difference -40.0, 95 % interval")
    assert "search.evaluations" in line


def test_a_merge_that_may_be_better_by_luck_is_not_called_better():
    (line,) = remarks(math=50, evolved=52)
    assert "is not shown to be better than math 50.0 by these 100 items" in line
    assert "difference +2.0" in line


def test_a_random_search_is_compared_by_itself():
    lines = remarks(("random_search",), math=10, random_search=95, evolved=90)
    (line,) = lines
    assert "worse than random_search 95.0" in line or "better than random_search 95.0" in line
    assert "strategy" in line
