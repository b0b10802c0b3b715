"""Ctrl-C ends what runs, whoever swallows it on the way."""

import contextlib
import gc
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from evojax_merge import cli
from evojax_merge.search import interruption
from evojax_merge.search.interruption import Interrupted, end_if_asked_twice, watch


@pytest.fixture
def clock(monkeypatch):
    """The time as a watch sees it, in a list of one; a busy machine may sleep longer than asked."""
    now = [0.0]
    monkeypatch.setattr(interruption, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def wait(seconds=60.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


def test_what_a_callback_of_the_garbage_collector_swallows_is_raised_again(capfd):
    asked = []

    def callback(phase, info):
        if not asked:
            asked.append(phase)
            signal.raise_signal(signal.SIGINT)

    def collect():
        with watch():
            gc.callbacks.append(callback)  # here: garbage may be collected at any moment
            gc.collect()
            wait()

    try:
        with pytest.raises(Interrupted, match="SIGINT"):
            collect()
    finally:
        gc.callbacks.remove(callback)
    assert asked
    assert capfd.readouterr().err == ""


def test_what_a_finalizer_swallows_is_raised_again(capfd):
    class Ending:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def end():
        with watch():
            ending = Ending()
            del ending
            wait()

    with pytest.raises(Interrupted, match="SIGTERM"):
        end()
    assert capfd.readouterr().err == ""


def test_other_things_that_are_swallowed_are_shown_as_ever(monkeypatch):
    class Ending:
        def __del__(self):
            raise ValueError("for the test")

    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: shown.append(given.exc_value))
    with watch():
        ending = Ending()
        del ending
    assert [str(error) for error in shown] == ["for the test"]


def test_a_signal_that_must_wait_is_remembered(clock):
    with watch() as watching:
        with watching.deferred():
            signal.raise_signal(signal.SIGINT)
            clock[0] += 0.05
            signal.raise_signal(signal.SIGINT)  # as some wrappers do
            assert watching.came
        with pytest.raises(Interrupted, match="SIGINT"):
            watching.check()
        with pytest.raises(Interrupted), watching.deferred():
            raise AssertionError


def test_who_asks_twice_does_not_wait(clock):
    with watch() as watching, watching.deferred():
        signal.raise_signal(signal.SIGINT)
        clock[0] += 0.6
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


def test_of_two_watches_the_outer_one_has_the_handlers():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with watch() as outer:
        with watch() as inner:
            assert inner is outer
        assert signal.getsignal(signal.SIGINT) == outer.on_signal
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_nothing_is_caught():
    def run():
        with watch() as watching, end_if_asked_twice():
            watching.check()
        done.append(True)

    done = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done


@pytest.mark.parametrize("made_of_it", [None, ValueError, RuntimeError])
def test_a_library_that_makes_another_error_of_it_does_not_hide_it(monkeypatch, capsys, made_of_it):
    def run(console, **options):
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException:
            if made_of_it is not None:
                raise made_of_it("for the test") from None
            raise

    monkeypatch.setattr("evojax_merge.commands.apply.run", run)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["apply", "recipe.yaml", "--out", "there"])
    assert stopped.value.code == 130
    out, err = capsys.readouterr()
    assert "stopped by SIGINT" in out
    assert err == ""


NATIVE = """
import hashlib
from evojax_merge.search.interruption import end_if_asked_twice, watch
with watch() as interruption, interruption.deferred(), end_if_asked_twice():
    print("begun", flush=True)  # the first signal may come before the native code has begun
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


def test_who_asks_twice_does_not_wait_for_native_code_either():
    process = subprocess.Popen(
        [sys.executable, "-c", NATIVE],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    try:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.7)
        assert process.poll() is None
        # Where the first was heard late, the next comes too soon after it, and the one after ends.
        for _ in range(30):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
                break
        assert process.returncode == 130
    finally:
        process.kill()
        process.communicate()
