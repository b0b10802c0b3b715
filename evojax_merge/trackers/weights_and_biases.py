"""Weights & Biases. The environment says who sends and where to: ``WANDB_API_KEY``,
``WANDB_ENTITY``, ``WANDB_BASE_URL``.

Its own files have links that lead out of their folder, so that they do not lie in the run's
directory.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from evojax_merge.trackers.base import Tracked, Tracker

_PATIENCE = 30.0
"""The seconds after which a service that does not answer counts as gone."""

MODES = ("online", "offline")


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases.

    Args:
        project: The project that runs are listed in.
        mode: ``online``, or ``offline`` for files in ``WANDB_DIR``, by default ``./wandb``, that
            ``wandb sync`` sends later.
    """

    package: ClassVar[str] = "wandb"
    extra: ClassVar[str] = "wandb"
    _run: Any

    def __init__(self, project: str = "evojax-merge", mode: str = "online"):
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"tracker.mode is {mode!r}; use {' or '.join(MODES)}")
        self._project, self._mode = project, mode
        self._searches: set[str] = set()

    def begin(self, run: Tracked, identity: str | None) -> str:
        """Begin a run, or go on with one of a name."""
        import wandb

        self._run = wandb.init(
            project=self._project,
            name=f"{run.experiment} {run.name}",
            group=run.group,
            id=identity,
            resume=None if identity is None else "allow",
            config=None if identity else dict(run.settings),
            mode=self._mode,  # type: ignore[arg-type,unused-ignore]
            settings=wandb.Settings(init_timeout=_PATIENCE, silent=True, console="off"),
        )
        return str(self._run.id)

    def log(self, search: str, step: int, scalars: Mapping[str, float]) -> None:
        """Send the numbers of a generation, by the generations of their own search."""
        if search not in self._searches:
            self._searches.add(search)
            self._run.define_metric(f"{search}/generation", hidden=True)
            self._run.define_metric(f"{search}/*", step_metric=f"{search}/generation")
        named = {f"{search}/{name}": value for name, value in scalars.items()}
        self._run.log({**named, f"{search}/generation": step})

    def summarize(self, scores: Mapping[str, float]) -> None:
        """Send the scores as the run's summary."""
        self._run.summary.update({f"results/{name}": score for name, score in scores.items()})

    def keep(self, files: Sequence[Path], pictures: Sequence[Path]) -> None:
        """Send an artifact of all files, and the pictures to be looked at."""
        import wandb

        artifact = wandb.Artifact(f"run-{self._run.id}", type="run")
        for path in (*files, *pictures):
            artifact.add_file(str(path), name=path.name)
        self._run.log_artifact(artifact)
        self._run.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in pictures})

    def end(self, failed: bool) -> None:
        """Send what is left."""
        self._run.finish(exit_code=int(failed))
