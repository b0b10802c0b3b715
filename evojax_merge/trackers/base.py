"""The base of trackers."""

import abc
import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar


class TrackerWarning(UserWarning):
    """The warning that a tracker failed, without which the search goes on."""


@dataclasses.dataclass(frozen=True)
class Tracked:
    """What a tracker is told of a run at its start.

    Attributes:
        name: The name of the run's folder.
        experiment: The name of the experiment.
        directory: The directory of the run.
        settings: The configuration, by dotted key.
        group: The name of the sweep that the run is a job of, if it is one.
    """

    name: str
    experiment: str
    directory: Path
    settings: Mapping[str, Any]
    group: str | None = None


class Tracker(abc.ABC):
    """The base class of what keeps the numbers of runs.

    Its methods are called in the order `begin`, `log` any number of times, `summarize` perhaps,
    `keep` perhaps, `end`. They may raise whatever they like: it is warned of once, and the search
    goes on without the tracker.

    Attributes:
        package: The package that it needs, as it is imported.
        extra: The extra of this package that brings it, which is also its name in messages.
    """

    package: ClassVar[str]
    extra: ClassVar[str]

    def __init__(self) -> None:
        """Check that the package is there, before anything starts.

        Raises:
            ValueError: It is not.
        """
        if importlib.util.find_spec(self.package) is None:
            raise ValueError(
                f"tracker={self.extra} needs the package {self.package}, which is not installed: "
                f"pip install 'evojax-merge[{self.extra}]'"
            )

    @abc.abstractmethod
    def begin(self, run: Tracked, identity: str | None) -> str:
        """Begin to track a run, or go on with it.

        Args:
            run: The run.
            identity: What an earlier process of the run was returned here; None for a new run.

        Returns:
            What names the run from now on.
        """

    @abc.abstractmethod
    def log(self, search: str, step: int, scalars: Mapping[str, float]) -> None:
        """Keep the numbers of a generation.

        Args:
            search: The search that it belongs to.
            step: The number of the generation, from 1.
            scalars: Finite numbers by name.
        """

    @abc.abstractmethod
    def summarize(self, scores: Mapping[str, float]) -> None:
        """Keep the final scores, by ``split/method``."""

    @abc.abstractmethod
    def keep(self, files: Sequence[Path], pictures: Sequence[Path]) -> None:
        """Keep what a run leaves: texts, tables and reports, and PNGs to be looked at."""

    @abc.abstractmethod
    def end(self, failed: bool) -> None:
        """End, so that nothing is lost; the run may have failed, or may go on later."""
