"""How far a run is, how long it still takes, and who is told."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from evojax_merge.fitness import ACCURACY
from evojax_merge.report.course import (
    GENERATION,
    Course,
    Generation,
    Listener,
    Step,
    Told,
    listeners_of,
)
from evojax_merge.report.progress import RunProgress, duration
from evojax_merge.report.status import FILE, StatusFile, read_status

STEPS = (
    Step("reading"),
    Step("evolved", GENERATION, 4, 4 * 8, 10),
    Step("front", "merge", 8, 8, 10),
    Step("comparing", "merge", 5, 5, 100),
    Step("plots", seconds=3.0),
)


class Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def course(tmp_path, *listeners: Listener) -> tuple[Course, Clock]:
    clock = Clock()
    return Course(tmp_path, STEPS, listeners, clock), clock


def generation(number: int, seconds: float, tmp_path, best: float = 0.5) -> Generation:
    return Generation(
        search="evolved",
        number=number,
        generations=4,
        best=best,
        top=best,
        mean=0.25,
        failed=0,
        evaluations=8 * number,
        item_evaluations=80 * number,
        seconds=seconds,
        measured_seconds=seconds,
        measure=ACCURACY,
        directory=tmp_path,
        find_genotype=lambda: np.zeros(3),
        make_recipe=lambda: "recipe",
    )


def _fail_in_a_search(run: Course, tmp_path) -> None:
    run.begin("evolved")
    run.generated(generation(1, 1.0, tmp_path))
    raise RuntimeError("enough")


def test_what_is_left_covers_all_that_a_run_does(tmp_path):
    run, _ = course(tmp_path)
    run.begin("evolved")
    assert run.left is None
    run.generated(generation(1, 100.0, tmp_path))
    run.generated(generation(2, 8.0, tmp_path))  # 80 results of items, 0.1 s each
    assert run.left == pytest.approx(2 * 8 + 8 + 50 + 3)
    run.measured(4)  # half of a generation
    assert run.left == pytest.approx(1.5 * 8 + 8 + 50 + 3)
    run.begin("comparing")  # there is no front
    assert run.left == pytest.approx(50 + 3)
    run.measured(2.5)
    assert run.left == pytest.approx(25 + 3)
    run.reached(4)
    assert run.left == pytest.approx(10 + 3)
    run.begin("plots")
    assert run.left == pytest.approx(3)


def test_a_resumed_search_knows_its_time_from_what_was_done_before(tmp_path):
    run, _ = course(tmp_path)
    run.begin("evolved")
    run.resumed(3, seconds=8.0, size=80)
    assert run.left == pytest.approx(8 + 8 + 50 + 3)


def test_functions_hear_of_generations_and_listeners_of_everything(tmp_path):
    heard = []

    class All(Listener):
        def on_begin(self, course):
            heard.append("begin")

        def on_step(self, course):
            heard.append(course.step.name)

        def on_end(self, course, error):
            heard.append(str(error))

    given = [All(), lambda told: heard.append((told.number, told.best, told.recipe()))]
    run, _ = course(tmp_path, *listeners_of(given))
    with pytest.raises(RuntimeError), run.followed():
        _fail_in_a_search(run, tmp_path)
    assert heard == ["begin", "evolved", (1, 0.5, "recipe"), "enough"]
    assert isinstance(listeners_of([print])[0], Told)
    with pytest.raises(ValueError, match="neither a function"):
        listeners_of(["tensorboard"])


def test_without_a_terminal_lines_say_what_is_done_and_what_is_left(tmp_path):
    printed = io.StringIO()
    run, _ = course(tmp_path, RunProgress(Console(file=printed, width=200)))
    with run.followed():
        run.begin("evolved")
        run.generated(generation(1, 8.0, tmp_path))
        run.generated(generation(2, 8.0, tmp_path))
    (line,) = printed.getvalue().splitlines()  # the second one comes too early
    assert line == (
        "evolved: generation 1/4  accuracy, %: best 50.0  mean 25.0  1 candidates/s  "
        "about 85 s left"
    )


def test_on_a_terminal_a_bar_is_drawn_for_the_whole(tmp_path):
    printed = io.StringIO()
    console = Console(file=printed, width=120, force_terminal=True, force_interactive=True)
    run, clock = course(tmp_path, RunProgress(console))
    with run.followed():
        run.begin("evolved")
        clock.now = 16.0
        run.generated(generation(2, 8.0, tmp_path))
        run.begin("comparing")
        run.reached(3, "ties")
    text = printed.getvalue()
    assert "step 4 of 5" in text
    assert "about 23 s left" in text
    assert "comparing: merge 4/5 on 100 items  ties" in text


def test_the_file_of_the_status_says_how_a_run_stands_and_ended(tmp_path):
    run, _ = course(tmp_path, StatusFile())
    with pytest.raises(RuntimeError), run.followed():
        _fail_in_a_search(run, tmp_path)
    found = read_status(tmp_path)
    assert (found.state, found.why) == ("stopped", "RuntimeError: enough")
    assert found.steps[found.step - 1] == "evolved"
    assert found.best[0].shown == "accuracy, % 50.0"


def test_the_file_of_the_status_says_while_a_run_goes_on_what_is_left(tmp_path):
    run, _ = course(tmp_path, StatusFile())
    with run.followed():
        run.begin("evolved")
        run.generated(generation(2, 8.0, tmp_path))
        run.begin("comparing")
        found = read_status(tmp_path)
    assert (found.state, found.step) == ("running", 4)
    assert found.left == pytest.approx(53)


@pytest.mark.parametrize("text", ["[", "{}", '{"state": 3}'])
def test_a_damaged_status_is_refused_by_name(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match=FILE):
        read_status(tmp_path)


def test_a_status_of_a_later_version_is_read(tmp_path):
    run, _ = course(tmp_path, StatusFile())
    with run.followed():
        pass
    file = tmp_path / FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "news": 1}))
    assert read_status(tmp_path).state == "finished"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.2, "4 s"), (99.6, "100 s"), (300, "5 min"), (12_000, "3 h 20 min"), (4e5, "4.6 days")],
)
def test_times_are_short(seconds, text):
    assert duration(seconds) == text
