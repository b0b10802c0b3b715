"""One answer to one item, judged as a task of generated text does it."""

from tests.fitness.conftest import written


def judged(task, text):
    """The verdict of a task on a text as the answer to its first item."""
    (verdict,) = task.judging([text], [task.case_of(task.records[0])])
    return verdict


def scores(bound, *answers):
    """The results of candidates, of each of which the answers to all items are given."""
    return bound.score(written(bound, answers)).tolist()
