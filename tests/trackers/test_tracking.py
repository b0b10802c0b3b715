"""A tracker follows a run, and nothing that it does ends one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from evojax_merge import api
from evojax_merge.config import build, compose
from evojax_merge.fitness import ACCURACY
from evojax_merge.report.course import Course, Generation
from evojax_merge.report.results import Result
from evojax_merge.trackers import Tracker, TrackerWarning, Tracking
from evojax_merge.trackers.tensorboard import TensorBoard
from tests.fitness.tasks import Counted
from tests.processes import environment

DIGITS = [
    "+experiment=digits_halves",
    "search.evaluations=16",
    "strategy.population_size=8",
    "baselines.published=false",
    "baselines.random_search=false",
    "export=false",
]


class Kept(Tracker):
    """A tracker that keeps what it is told, and may fail."""

    package: ClassVar[str] = "json"
    extra: ClassVar[str] = "kept"

    def __init__(self, fails: str = "") -> None:
        super().__init__()
        self.calls: list[Any] = []
        self._fails = fails

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if call[0] == self._fails:
            raise ConnectionError("no route\nto host")

    def begin(self, run, identity):
        self._called("begin", run.experiment, dict(run.settings), run.group, identity)
        return "the name"

    def log(self, search, step, scalars):
        self._called("log", search, step, dict(scalars))

    def summarize(self, scores):
        self._called("summarize", dict(scores))

    def keep(self, files, pictures):
        self._called("keep", [path.name for path in files], [path.name for path in pictures])

    def end(self, failed):
        self._called("end", failed)


def generation(number: int, directory: Path, best: float = 0.5) -> Generation:
    return Generation(
        "evolved", number, 2, best, best, float("nan"), 1, 8 * number, 80 * number, 1.0, 1.0,
        ACCURACY, directory, lambda: np.zeros(2), lambda: None,
    )  # fmt: skip


def follow(tracker: Tracker, directory: Path, first: int = 1) -> None:
    """A run of two generations, or its second one."""
    (directory / "plots").mkdir(exist_ok=True)
    tracking = Tracking(tracker, "digits", {"seed": 0, "search.evaluations": 16})
    course = Course(directory, (), (tracking,))
    with course.followed():
        for number in range(first, 3):
            tracking.on_generation(course, generation(number, directory))
        course.compared([Result.of("evolved", Counted(4).on("test"), np.ones(4))])
        (directory / "results.json").write_text("[]")


def test_a_tracker_is_told_settings_generations_scores_and_files(tmp_path):
    tracker = Kept()
    follow(tracker, tmp_path)
    begin, first, second, summary, keep, end = tracker.calls
    assert begin == ("begin", "digits", {"seed": 0, "search.evaluations": 16}, None, None)
    assert first[:3] == ("log", "evolved", 1)
    assert first[3]["best"] == 0.5
    assert "mean" not in first[3]  # it is not finite
    assert second[2] == 2
    assert summary == ("summarize", {"test/evolved": 1.0})
    assert keep == ("keep", ["results.json"], [])
    assert end == ("end", False)


def test_a_resumed_run_goes_on_under_its_name(tmp_path):
    follow(Kept(), tmp_path)
    again = Kept()
    follow(again, tmp_path, first=2)
    assert again.calls[0][-1] == "the name"
    (tmp_path / "tracker.json").write_text("{")  # damaged: then it begins anew
    follow(again := Kept(), tmp_path)
    assert again.calls[0][-1] is None


@pytest.mark.parametrize("fails", ["begin", "log", "summarize", "keep", "end"])
def test_a_tracker_that_fails_is_warned_of_once_and_ends_nothing(fails, tmp_path):
    tracker = Kept(fails)
    with pytest.warns(TrackerWarning, match=r"tracker=kept failed \(no route to host\)") as caught:
        follow(tracker, tmp_path)
    assert len(caught) == 1
    assert tracker.calls[-1][0] == fails  # and is left alone from then on


def events(folder: Path) -> list[Any]:
    """What the event files of a folder hold: records of a length, four bytes, content, four."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.*")):
        content, first = file.read_bytes(), 0
        while first < len(content):
            length = int.from_bytes(content[first : first + 8], "little")
            found.append(Event.FromString(content[first + 12 : first + 12 + length]))
            first += length + 16
    return found


def test_event_files_of_tensorboard_hold_a_run(tmp_path):
    run = api.evolve([*DIGITS, "tracker=tensorboard"], tmp_path / "run")
    values = [
        (value.tag, event.step, value)
        for event in events(run.directory / "tensorboard")
        for value in event.summary.value
    ]
    best = {step: value.simple_value for tag, step, value in values if tag == "evolved/best"}
    rows = list(map(json.loads, (run.directory / "history.jsonl").read_text().splitlines()))
    assert best == {
        1: pytest.approx(max(row["fitness"] for row in rows[:8])),
        2: pytest.approx(max(row["fitness"] for row in rows)),
    }
    (score,) = [value.simple_value for tag, _, value in values if tag == "results/test/evolved"]
    assert score == pytest.approx(run.result.score)
    tags = {tag for tag, _, _ in values}
    assert {"configuration/text_summary", "coefficients", "fitness"} <= tags
    api.resume(run.directory)  # which is done, and tracked by the same name
    assert json.loads((run.directory / "tracker.json").read_text())["tracker"] == "tensorboard"


def test_a_package_that_is_missing_is_named_before_anything_starts(monkeypatch):
    monkeypatch.setattr(TensorBoard, "package", "no_such_package")
    config = compose([*DIGITS, "tracker=tensorboard"])
    with pytest.raises(ValueError, match=r"pip install 'evojax-merge\[tensorboard\]'"):
        build(config)
    assert build(compose(DIGITS)).tracker is None


OFFLINE = """
import sys
from evojax_merge import api
overrides, directory = sys.argv[2:], sys.argv[1]
def stop(generation):
    raise KeyboardInterrupt
try:
    api.evolve(overrides, directory, callbacks=[stop])
except KeyboardInterrupt:
    pass
api.resume(directory)
"""
"""A run that is stopped after its first generation, and goes on."""


def stopped_and_resumed(tracker: str, folder: Path, **variables: str) -> Path:
    pytest.importorskip(tracker)
    more = [f"tracker={tracker}", *(["tracker.mode=offline"] if tracker == "wandb" else [])]
    command = [sys.executable, "-c", OFFLINE, str(folder / "run"), *DIGITS, *more]
    subprocess.run(command, cwd=folder, env=environment(**variables), check=True, timeout=300)
    assert "failed" not in (folder / "run" / "run.log").read_text()
    return folder / "run"


@pytest.mark.parity
def test_mlflow_has_one_run_of_a_search_that_was_stopped(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run = stopped_and_resumed("mlflow", tmp_path, MLFLOW_TRACKING_URI=uri)
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "digits_halves"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["search.evaluations"] == "16"
    steps = [one.step for one in client.get_metric_history(found.info.run_id, "evolved/best")]
    assert steps == [1, 2]
    results = json.loads((run / "results.json").read_text())
    score = next(row["score"] for row in results if row["name"] == "evolved")
    assert found.data.metrics["results/test/evolved"] == pytest.approx(score)
    kept = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert {"config.yaml", "recipe.yaml", "results.json", "plots"} <= kept


@pytest.mark.parity
def test_weights_and_biases_keeps_a_run_offline_under_one_name(tmp_path):
    run = stopped_and_resumed("wandb", tmp_path)
    identity = json.loads((run / "tracker.json").read_text())["identity"]
    folders = sorted(path.name for path in (tmp_path / "wandb").glob("offline-run-*"))
    assert len(folders) == 2  # one for each process, which `wandb sync` joins by the name
    assert all(name.endswith(identity) for name in folders)
    first, second = (
        next((tmp_path / "wandb" / name).glob("*.wandb")).read_bytes() for name in folders
    )
    assert b"evolved/best" in first  # what a generation is told as, in plain text among records
    assert b"evolved/best" in second
    assert b"results/test/evolved" in second
    assert b"results/test/evolved" not in first
