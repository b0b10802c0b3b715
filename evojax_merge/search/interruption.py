"""What leaves cleanly on Ctrl-C and SIGTERM, at whatever moment they come."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from evojax_merge import hosts
from evojax_merge.hosts import Interrupted

__all__ = ["EXIT_CODE", "Interrupted", "Interruption", "end_if_asked_twice", "watch"]

_CAUGHT = (signal.SIGINT, signal.SIGTERM)

_TWICE = 0.5
"""The seconds after which a signal is a new one; what wraps a command often repeats a signal."""

_AGAIN = 0.02
"""The seconds after which what was swallowed is raised again."""

EXIT_CODE = 130


class Interruption:
    """What raises `Interrupted` in the main thread when a signal comes, or later if it must wait.

    Python swallows what is raised in callbacks of its garbage collector, which JAX has, and in
    finalizers. Then it is raised once more, outside of them.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._since = 0.0
        self._deferred = False

    @property
    def came(self) -> bool:
        """Whether a signal has come."""
        return self._signal is not None

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self._signal is not None:
            raise Interrupted(signal.Signals(self._signal).name)

    def agreed(self) -> None:
        """Raise `Interrupted` in all processes of a run if a signal has come to one of them.

        All of them must call it; none is left waiting for one that stops.
        """
        if number := hosts.most(self._signal or 0):
            self._signal = self._signal or number
            self.check()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only remember the first signal within the block, for `check`."""
        self.check()
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The handler of a signal."""
        again = self._signal is not None and time.monotonic() - self._since > _TWICE
        if self._signal is None:
            self._signal, self._since = number, time.monotonic()
            hosts.tell_stop(number)
        if again or not self._deferred:
            self.check()

    def on_told(self, number: int) -> None:
        """What another thread calls when the signal has come to another process of the run."""
        if self._signal is None:
            self._signal, self._since = number, time.monotonic()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def on_alarm(self, number: int, frame: FrameType | None) -> None:
        """The handler of the alarm that `on_unraisable` sets."""
        if not self._deferred:
            self.check()

    def on_unraisable(self, unraisable: Any) -> bool:
        """Whether what was swallowed is ours; it is raised again soon."""
        if not isinstance(unraisable.exc_value, Interrupted):
            return False
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        return True


_watching: Interruption | None = None


@contextmanager
def watch() -> Iterator[Interruption]:
    """Catch SIGINT and SIGTERM within the block, in the main thread only.

    Where blocks lie within one another, the outermost one catches them.
    """
    global _watching
    if _watching is not None:
        yield _watching
        return
    interruption = Interruption()
    try:
        before = {number: signal.signal(number, interruption.on_signal) for number in _CAUGHT}
    except ValueError:  # another thread: signals are not ours to handle
        yield interruption
        return
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, interruption.on_alarm)
    hook = sys.unraisablehook

    def unraisable(given: Any) -> None:
        if not interruption.on_unraisable(given):
            hook(given)

    sys.unraisablehook = unraisable
    _watching = interruption
    hosts.on_stop(interruption.on_told)
    try:
        yield interruption
    finally:
        hosts.on_stop(None)
        _watching = None
        sys.unraisablehook = hook
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def end_if_asked_twice() -> Iterator[None]:
    """End the process at once on a second signal in the block, even in the middle of native code.

    Python's own handlers wait for the interpreter, which a compilation can keep waiting for
    minutes. This works in the main thread only.
    """
    told, telling = socket.socketpair()
    telling.setblocking(False)
    try:
        before = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    except ValueError:  # another thread
        told.close()
        telling.close()
        yield
        return
    threading.Thread(target=_listen, args=(told,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        telling.close()  # which ends the thread


def _listen(told: socket.socket) -> None:
    first: float | None = None
    with told:
        while numbers := told.recv(64):
            if not set(numbers) & set(_CAUGHT):
                continue
            now = time.monotonic()
            if first is not None and now - first > _TWICE:
                os._exit(EXIT_CODE)
            first = first or now
