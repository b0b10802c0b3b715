"""Leaving a search cleanly on Ctrl-C and SIGTERM."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The user or the scheduler asked to stop; everything completed is saved."""


class Interruption:
    """Remembers a signal until the search reaches a point where it can leave."""

    def __init__(self) -> None:
        self._signal: int | None = None

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self._signal is not None:
            raise Interrupted(signal.Signals(self._signal).name)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:  # asked twice: leave at once
            raise KeyboardInterrupt
        self._signal = number


@contextmanager
def watch() -> Iterator[Interruption]:
    """Catch SIGINT and SIGTERM within the block; in the main thread only."""
    interruption = Interruption()
    caught = (signal.SIGINT, signal.SIGTERM)
    try:
        before = {number: signal.signal(number, interruption._remember) for number in caught}
    except ValueError:  # another thread: signals are not ours to handle
        yield interruption
        return
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
