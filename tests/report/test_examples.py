"""Which items are kept to be read, and what of them."""

import json

import numpy as np
import pytest

from evojax_merge.report.examples import MOST, Examples, Gathering
from tests.fitness.tasks import LOG_LIKELIHOOD, Counted, several


def records(items, text="{}", **more):
    return [{"item": n, "prompt": f"p{n}", "text": text.format(n), "reference": str(n), **more}
            for n in range(items)]  # fmt: skip


def gathered(task, scores, details=records):
    gathering = Gathering(task, "evolved")
    for name, items in scores.items():
        gathering.add(name, np.array(items, float), lambda: details(len(task)))
    return gathering


def test_items_on_which_the_winner_did_otherwise_come_before_others():
    base, evolved = np.zeros(100), np.zeros(100)
    evolved[[3, 50, 97]], base[[20]] = 1, 1
    found = gathered(Counted(100), {"base": base, "evolved": evolved}).choose()
    assert [one.item for one in found.items if one.differs] == [3, 20, 50, 97]
    assert len(found.items) == MOST
    assert (found.split, found.of) == ("test", 100)
    assert found.items[0].answers[0].text == "0"


def test_many_items_that_differ_are_taken_evenly_over_the_split():
    found = gathered(Counted(1000), {"base": np.zeros(1000), "evolved": np.ones(1000)}).choose()
    items = [one.item for one in found.items]
    assert (items[0], items[-1]) == (0, 999)
    assert max(np.diff(items)) < 60


def test_each_of_several_tasks_has_its_share_and_items_are_counted_from_its_own_first():
    task = several({"math": 1, "text": 1}, math=Counted(40), text=Counted(30, LOG_LIKELIHOOD))

    def own(_):
        texts = [{"task": "text", "item": n, "text": f"t{n}", "tokens": 7} for n in range(30)]
        return [{"task": "math", **record} for record in records(40)] + texts

    scores = {"base": np.zeros(70), "evolved": np.arange(70.0)}
    found = gathered(task, scores, own).choose()
    assert [sum(one.task == name for one in found.items) for name in ("math", "text")] == [12, 12]
    last = found.items[-1]
    assert (last.task, last.item, last.prompt) == ("text", 29, "t29")
    assert last.answers[1].text is None
    assert last.answers[1].score == 69
    assert last.answers[1].notes == {"tokens": "7"}
    assert found.measures["text"] == tuple(LOG_LIKELIHOOD[:2])


def test_what_was_kept_is_read_again_whatever_was_answered(tmp_path):
    hostile = "\ud800 </script> \u202e 言葉"

    def details(items):
        return records(items, hostile, right=True, answer="5", extra=object())

    scores = {"base": np.array([np.nan, 1.0]), "evolved": np.array([0.0, np.inf])}
    examples = gathered(Counted(2), scores, details).choose()
    examples.save(tmp_path)
    read = Examples.load(tmp_path)
    assert read == examples
    answer = read.items[0].answers[0]
    assert answer.text == "\\ud800 </script> \u202e 言葉"
    assert (answer.extracted, answer.score, answer.right) == ("5", None, True)
    assert "言葉" in (tmp_path / "examples.json").read_text(encoding="utf-8")


def test_long_answers_are_cut():
    examples = gathered(Counted(1), {"evolved": [1.0]}, lambda n: records(n, "x" * 100_000))
    text = examples.choose().items[0].answers[0].text
    assert len(text) < 5_000
    assert text.endswith("(of 100,000 characters)")


def test_a_task_that_tells_of_other_items_is_refused():
    with pytest.raises(ValueError, match="tells of 3 of 2 items"):
        gathered(Counted(2), {"evolved": [1.0, 0.0]}, lambda _: records(3))


def test_nothing_gathered_is_nothing_kept(tmp_path):
    gathered(Counted(2), {"evolved": [1.0, 0.0]}, lambda _: []).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "examples.json").write_text(json.dumps({"split": "test"}))
    with pytest.raises(ValueError, match=r"examples\.json"):
        Examples.load(tmp_path)
