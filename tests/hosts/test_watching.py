"""What the thread hears of other processes, and what it tells them of this one."""

import signal
import time

import pytest

from evojax_merge.hosts import leaving
from evojax_merge.hosts.group import HostsError
from evojax_merge.hosts.watching import Watcher
from tests.hosts.fake import groups


@pytest.fixture
def pair():
    """Two processes, whose watchers look when they are told to."""
    heard = []
    made = groups(2)
    watchers = [Watcher(group, 60, heard.append) for group in made]
    return made, watchers, heard


def look(*watchers):
    for watcher in watchers:
        watcher._speak()
    for watcher in watchers:
        watcher._listen()


def test_a_failure_is_heard_by_the_others_and_the_first_one_counts(pair):
    (first, second), watchers, _ = pair
    assert watchers[1].tell_failure("process 1 on host1 failed: no space")
    assert not watchers[0].tell_failure("process 0 on host0 failed: no space")
    look(*watchers)
    assert first.failure == "process 1 on host1 failed: no space"
    assert second.failure is None
    with pytest.raises(HostsError, match="no space"):
        first.raise_failure()


def test_a_signal_to_one_is_heard_by_all(pair):
    (first, _), watchers, heard = pair
    watchers[1].tell_stop(signal.SIGTERM)
    look(*watchers)
    assert heard == [signal.SIGTERM] * 2
    assert first.failure is None  # they will stop together


def test_who_is_stopped_and_leaves_is_not_waited_for(pair):
    (first, _), watchers, _ = pair
    watchers[1].tell_stop(signal.SIGINT)
    watchers[1].tell_left()  # before the thread looked again
    look(watchers[0])
    assert first.failure == "process 1 on host1: stopped by SIGINT"
    assert watchers[0].left() == [1]
    assert watchers[0].all_left()


def test_silence_is_noticed_and_a_word_ends_it(pair):
    _, watchers, _ = pair
    look(*watchers)
    time.sleep(0.1)
    look(watchers[0])
    assert watchers[0].silent(0.05) == [1]
    assert watchers[0].silent(30) == []
    look(*watchers)
    assert watchers[0].silent(0.05) == []
    assert "process 1 on host1 has ended without a word" in watchers[0].gone([1])


def test_an_error_of_a_collective_is_explained_by_what_ended(pair):
    (first, _), watchers, _ = pair
    watchers[1].tell_left()
    look(watchers[0])
    with pytest.raises(HostsError, match="process 1 on host1 has ended"):
        leaving._explain(first, watchers[0], ValueError("Gloo AllGather failed"))
    assert first.told


def test_an_error_that_leaves_a_run_is_told_with_its_message(pair, monkeypatch):
    (first, second), watchers, _ = pair
    monkeypatch.setattr(leaving, "active", lambda: second)
    monkeypatch.setattr(leaving, "_watcher", watchers[1])

    def write():
        assert second.running
        raise OSError(28, "the disk is full", "/history.jsonl")

    with pytest.raises(OSError, match="full"), leaving.together():
        write()
    assert not second.running
    look(watchers[0])
    assert first.failure == (
        "process 1 on host1 failed: [Errno 28] the disk is full: '/history.jsonl'"
    )
