"""What several processes agree on, and how one hears of another's failure while it waits."""

import sys
import time

import pytest

from evojax_merge import hosts
from evojax_merge.hosts.group import HostsError
from tests.hosts.fake import groups, in_all


def test_one_process_agrees_with_itself_without_a_device():
    assert hosts.is_first()
    assert hosts.active() is None
    assert hosts.agree({"a": 1}) == {"a": 1}
    assert hosts.agree_bytes(lambda: b"x") == b"x"
    assert (hosts.most(3), hosts.least(3), hosts.any_of(False)) == (3, 3, False)
    hosts.barrier()
    hosts.compare("things", {"a": "b"}, "do nothing")
    hosts.leave(7)  # or this test would be the last
    with hosts.together():
        pass


def test_all_get_what_the_first_gives():
    long = bytes(range(256)) * 10_000  # more than one value holds
    assert in_all(lambda group: group.agree(long), groups(3)) == [long] * 3
    assert in_all(lambda group: group.agree(b""), groups(2)) == [b""] * 2


def test_all_get_what_each_gives_in_order():
    assert in_all(lambda group: group.gather(group.index * 10), groups(3)) == [[0, 10, 20]] * 3


def test_what_was_agreed_on_long_ago_is_not_kept():
    made = groups(2)
    in_all(lambda group: [group.gather(turn) for turn in range(30)], made)
    assert len(made[0].client.store) < 20


def test_facts_that_differ_are_named_with_the_host_in_all_processes():
    facts = {"jax": "1", "numpy": "2"}
    found = in_all(
        lambda group: group.compare("packages", facts | {"jax": str(group.index)}, "Do it."),
        groups(2),
    )
    for error in found:
        assert isinstance(error, HostsError)
        assert error.common
        assert str(error) == (
            "process 1 on host1 has other packages than process 0 on host0: jax is 1 instead of 0. "
            "Do it."
        )


def test_who_waits_hears_that_another_process_has_failed():
    first, second = groups(2)

    def run(group):
        if group is first:
            time.sleep(0.2)
            second.failure = "process 0 on host0 failed: the disk is full"
            return None
        return group.gather(1)

    error = in_all(run, [first, second])[1]
    assert isinstance(error, HostsError)
    assert "the disk is full" in str(error)
    assert second.told


def test_bytes_that_differ_are_an_error(monkeypatch):
    first, second = groups(2)
    monkeypatch.setattr(sys.modules["evojax_merge.hosts.group"], "_group", first)
    second.client.key_value_set_bytes("evojax-merge/1/1/0", b'{"the candidates": "other"}')
    second.client.key_value_set_bytes("evojax-merge/1/1/count", b"1")
    with pytest.raises(HostsError, match="process 1 on host1 has other numbers than process 0"):
        hosts.check_same("the candidates", b"genotypes")
