"""TensorBoard, whose event files lie in the run's directory: ``tensorboard --logdir RUN``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from evojax_merge.trackers.base import Tracked, Tracker

FOLDER = "tensorboard"


class TensorBoard(Tracker):
    """Event files by tensorboardX, which needs neither TensorFlow nor torch."""

    package: ClassVar[str] = "tensorboardX"
    extra: ClassVar[str] = "tensorboard"
    _writer: Any

    def begin(self, run: Tracked, identity: str | None) -> str:
        """Open a new event file; TensorBoard shows all of a folder as one run."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(logdir=str(run.directory / FOLDER))
        if identity is None:
            lines = [f"    {key}: {value}" for key, value in run.settings.items()]
            self._writer.add_text("configuration", "\n".join(lines))
        return FOLDER

    def log(self, search: str, step: int, scalars: Mapping[str, float]) -> None:
        """Write the numbers of a generation."""
        for name, value in scalars.items():
            self._writer.add_scalar(f"{search}/{name}", value, step)
        self._writer.flush()

    def summarize(self, scores: Mapping[str, float]) -> None:
        """Write the scores as numbers and as a table."""
        rows = [f"| {name} | {score:.6g} |" for name, score in scores.items()]
        self._writer.add_text("results", "\n".join(["| method | score |", "|---|---|", *rows]))
        for name, score in scores.items():
            self._writer.add_scalar(f"results/{name}", score, 0)

    def keep(self, files: Sequence[Path], pictures: Sequence[Path]) -> None:
        """Write the pictures; the files lie beside."""
        from matplotlib.image import imread

        del files
        for path in pictures:
            pixels = np.round(np.asarray(imread(path))[..., :3] * 255).astype(np.uint8)
            self._writer.add_image(path.stem, pixels, 0, dataformats="HWC")

    def end(self, failed: bool) -> None:
        """Close the file."""
        del failed
        self._writer.close()
