"""MLflow. The environment says where to: ``MLFLOW_TRACKING_URI``, by default ``./mlflow.db``."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from evojax_merge.trackers.base import Tracked, Tracker

_PARAMS = 100
"""How many parameters a call may have."""

_LONGEST = 500
"""How many characters of a parameter every version keeps."""


class MLflow(Tracker):
    """A run of MLflow.

    Args:
        experiment: The experiment that runs are listed in; by default, the name of ours.
    """

    package: ClassVar[str] = "mlflow"
    extra: ClassVar[str] = "mlflow"
    _client: Any
    _run_id: str

    def __init__(self, experiment: str | None = None):
        super().__init__()
        self._experiment = experiment

    def begin(self, run: Tracked, identity: str | None) -> str:
        """Begin a run, or go on with one of an id."""
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        if identity is not None:
            self._client.update_run(identity, "RUNNING")
            self._run_id = identity
            return identity
        name = self._experiment or run.experiment
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        tags = {"directory": str(run.directory), **({"sweep": run.group} if run.group else {})}
        created = self._client.create_run(experiment, run_name=run.name, tags=tags)
        self._run_id = str(created.info.run_id)
        params = [Param(key, str(value)[:_LONGEST]) for key, value in run.settings.items()]
        for first in range(0, len(params), _PARAMS):
            self._client.log_batch(self._run_id, params=params[first : first + _PARAMS])
        return self._run_id

    def log(self, search: str, step: int, scalars: Mapping[str, float]) -> None:
        """Send the numbers of a generation."""
        self._metrics({f"{search}/{name}": value for name, value in scalars.items()}, step)

    def summarize(self, scores: Mapping[str, float]) -> None:
        """Send the scores."""
        self._metrics({f"results/{name}": score for name, score in scores.items()}, 0)

    def keep(self, files: Sequence[Path], pictures: Sequence[Path]) -> None:
        """Send the files and the pictures."""
        for path in files:
            self._client.log_artifact(self._run_id, str(path))
        for path in pictures:
            self._client.log_artifact(self._run_id, str(path), "plots")

    def end(self, failed: bool) -> None:
        """Say how the run ended; one that was stopped may go on later."""
        self._client.set_terminated(self._run_id, "KILLED" if failed else "FINISHED")

    def _metrics(self, numbers: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self._run_id, metrics=metrics)
