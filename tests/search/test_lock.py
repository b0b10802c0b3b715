"""One process writes a run's directory at a time, and a killed one stands in nobody's way."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from evojax_merge.search import lock
from evojax_merge.search.lock import LockedError, ReadOnlyError, locked

HOLD = """
import sys, time
from pathlib import Path
from evojax_merge.search.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(directory):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_of_two_processes_the_second_is_told_of_the_first(tmp_path):
    process = hold(tmp_path)
    try:
        by = f"process {process.pid} on {socket.gethostname()}"
        message = f"{tmp_path}: is being written by {by}; wait until it has ended, or end it"
        with pytest.raises(LockedError, match=re.escape(message)), locked(tmp_path):
            raise AssertionError
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with locked(tmp_path):  # the dead hold nothing
        pass


def test_the_same_process_holds_a_directory_once(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(LockedError, match=f"process {os.getpid()} on"),
        locked(tmp_path),
    ):
        raise AssertionError
    with locked(tmp_path):
        pass


def test_a_lock_file_that_says_nothing_is_one_all_the_same(tmp_path):
    process = hold(tmp_path)
    try:
        (tmp_path / lock.FILE).write_bytes(b"\xff")
        with pytest.raises(LockedError, match="is being written by another"), locked(tmp_path):
            raise AssertionError
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ReadOnlyError) as caught, locked(tmp_path):
        raise AssertionError
    assert caught.value.filename == str(tmp_path / lock.FILE)


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="its file system has no locks"), locked(tmp_path):
        pass
