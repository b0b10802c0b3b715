"""Of several processes, one asks what need not say the same twice."""

import pytest

from evojax_merge import hosts
from evojax_merge.fitness import GenerationTask
from evojax_merge.hosts import Interrupted
from tests.fitness.judging.judged import scores


@pytest.fixture
def second(monkeypatch):
    """Makes this process the second of two, which hears from the first what is given."""

    def second(heard):
        monkeypatch.setattr(hosts, "active", lambda: object())
        monkeypatch.setattr(hosts, "is_first", lambda: False)
        monkeypatch.setattr(hosts, "agree", lambda value: heard)

    return second


@pytest.fixture
def task(write, tmp_path):
    file = tmp_path / "own_score.py"
    file.write_text("def score(answer, item):\n    raise AssertionError('asked')\n")

    def task(**options):
        item = {"question": "?", "answer": 1}
        return GenerationTask(data=write(item), max_new_tokens=4, **options)

    return lambda **options: task(**(options or {"function": f"{file}:score"}))


def test_the_second_takes_what_the_first_says(task, model, second):
    bound = task().bind(model)
    second([[0.5, 0.25], None])
    assert scores(bound, ["a"], ["b"], ["a"]) == [[0.5], [0.25], [0.5]]


def test_the_second_stops_where_the_first_may_not_go_on(task, model, second):
    bound = task().bind(model)
    second([[], "the budget"])
    with pytest.raises(Interrupted, match="the budget"):
        scores(bound, ["a"])


def test_each_judges_for_itself_what_is_always_the_same(task, model, second):
    bound = task(score="f1").bind(model)
    second(None)
    assert scores(bound, ["1"]) == [[1]]
