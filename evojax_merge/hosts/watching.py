"""The thread that tells the other processes of this one, and listens to what they tell.

Whoever waits in a collective of the devices hears nothing. So each process says every moment that
it is there, and what has stopped or failed; where that ends the run, and the program does not come
back from where it waits, the thread ends the process with one line.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from evojax_merge.hosts.group import Group, first_line

_NEWS = "evojax-merge-news"
_EVERY = 0.5
"""The seconds between two looks."""

_GRACE = 6.0
"""The seconds in which a program may end by itself, once another process has failed."""

FAILED = 2
"""The exit code of a process that ends because another one has failed."""

STOPPED = 130
"""That of one that ends because another one was stopped by a signal."""


class Watcher:
    """What watches over the other processes of a run.

    Args:
        group: The processes.
        heartbeat: The seconds of silence after which one counts as gone.
        on_stop: A function that is told the number of a signal that has come to another process.
    """

    def __init__(self, group: Group, heartbeat: float, on_stop: Callable[[int], None]) -> None:
        self._group, self._heartbeat, self._on_stop = group, heartbeat, on_stop
        self._ended = threading.Event()
        self._heard = dict.fromkeys(range(group.count), ("", time.monotonic()))
        self._left: set[int] = set()
        self._stop: int | None = None
        self._beats, self._code = 0, FAILED
        self._since: float | None = None
        self._thread = threading.Thread(target=self._run, name="hosts", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        expect_abort(self._why_aborted)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it watches still."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()
        self._thread.join(5)
        expect_abort(None)

    def tell_failure(self, message: str) -> bool:
        """Tell the others what has failed; whether this process is the first to tell."""
        said = json.dumps([self._group.index, message[:2000]])
        try:
            self._group.client.key_value_set(f"{_NEWS}/failed", said)
        except RuntimeError:
            return False
        return True

    def tell_stop(self, number: int) -> None:
        """Tell the others soon that a signal has come; a signal's handler may call it."""
        self._stop = number

    def tell_left(self) -> None:
        """Tell the others that this process ends now, and of the signal if one has come."""
        with contextlib.suppress(RuntimeError):
            self._tell_of_signal()
            self._group.client.key_value_set(f"{_NEWS}/left/{self._group.index}", "")

    def left(self) -> list[int]:
        """The processes that have said that they end."""
        return sorted(self._left)

    def all_left(self) -> bool:
        """Whether all other processes have ended, or are silent."""
        others = set(range(self._group.count)) - {self._group.index}
        return others <= self._left | set(self.silent(4.0))

    def silent(self, seconds: float) -> list[int]:
        """The processes that have said nothing for so long, of those that have not ended."""
        now = time.monotonic()
        return [
            other
            for other, (_, when) in self._heard.items()
            if other not in (self._group.index, *self._left) and now - when > seconds
        ]

    def _run(self) -> None:
        while not self._ended.wait(_EVERY):
            try:
                self._speak()
                self._listen()
            except RuntimeError as error:
                if self._ended.is_set():
                    return
                self._fail(
                    f"{self._group.names[0]}, which coordinates the others, has ended or cannot be "
                    f"reached ({first_line(error)}); see its output, then resume"
                )
            if self._group.index == 0 and (gone := self.silent(self._heartbeat)):
                self.tell_failure(self.gone(gone))
                self._fail(self.gone(gone))
            self._end_if_stuck()

    def gone(self, processes: list[int]) -> str:
        """What a message says of processes that are silent."""
        names = " and ".join(self._group.names[one] for one in processes)
        return (
            f"{names} {'have' if len(processes) > 1 else 'has'} ended without a word or cannot be "
            "reached any more; what is completed is saved: resume"
        )

    def _speak(self) -> None:
        client, own = self._group.client, self._group.index
        self._beats += 1
        client.key_value_set(f"{_NEWS}/beat/{own}", str(self._beats), allow_overwrite=True)
        self._tell_of_signal()

    def _tell_of_signal(self) -> None:
        if self._stop is not None:
            with contextlib.suppress(RuntimeError):  # another one was first
                self._group.client.key_value_set(f"{_NEWS}/stop", str(self._stop))
            self._stop = None

    def _listen(self) -> None:
        told = dict(self._group.client.key_value_dir_get(f"{_NEWS}/"))
        now, stopped = time.monotonic(), None
        for key, value in told.items():
            kind, _, process = key.removeprefix(f"{_NEWS}/").partition("/")
            if kind == "beat" and self._heard[int(process)][0] != value:
                self._heard[int(process)] = value, now
            elif kind == "left":
                self._left.add(int(process))
            elif kind == "stop":
                stopped = int(value)
                self._on_stop(stopped)
            elif kind == "failed":
                teller, message = json.loads(value)
                if teller != self._group.index:
                    self._fail(message)
        if stopped is not None and self._left:  # who ends because of it comes to no meeting
            names = ", ".join(self._group.names[one] for one in self.left())
            self._fail(f"{names}: stopped by {signal.Signals(stopped).name}", STOPPED)

    def _fail(self, message: str, code: int = FAILED) -> None:
        if self._group.failure is None:
            self._group.failure, self._code = message, code
            self._since = time.monotonic()

    def _end_if_stuck(self) -> None:
        """End the process if the program does not come back from where it waits."""
        since = self._since
        if since is None or self._group.told or not self._group.running:
            return
        if time.monotonic() - since < _GRACE:
            return
        _say(f"error: {self._group.failure}")
        end_now(self._code, self)

    def _why_aborted(self) -> str | None:
        return None if self._group.told else self._group.failure or self.gone([0])


_handler: Any = None
"""What is called when this process aborts, kept as long as it may be."""


def expect_abort(why: Callable[[], str | None] | None) -> None:
    """Have one line said last if JAX's own runtime ends this process, as when process 0 is gone.

    It aborts in a thread of its own, after a message with addresses of code.

    Args:
        why: The function that gives the line; None expects it no longer.
    """
    global _handler
    if threading.current_thread() is not threading.main_thread():
        return
    if why is None:
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        return

    def on_abort(number: int) -> None:
        if (line := why()) is not None:
            _say(f"error: {line}")
        end_now(FAILED, None)

    with contextlib.suppress(OSError, AttributeError):
        handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(on_abort)
        ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)
        _handler = handler  # which must outlive the call


def _say(message: str) -> None:
    from evojax_merge.documents.terminal import complain  # later, as it takes its time to import

    complain(message)


def end_now(code: int, watcher: Watcher | None) -> None:
    """End the process at once, since to end in order is to wait for processes that are gone."""
    if watcher is not None:
        watcher.tell_left()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)
