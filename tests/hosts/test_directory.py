"""One process writes a run and all read it: a directory that is not shared is said at once."""

import pytest

from evojax_merge.hosts import directory
from evojax_merge.hosts.directory import check_seen, check_shared
from evojax_merge.hosts.group import HostsError
from tests.hosts.fake import groups, in_all


def test_a_shared_directory_is_left_as_it_was(tmp_path):
    assert in_all(lambda group: check_seen(group, tmp_path), groups(3)) == [None] * 3
    assert not list(tmp_path.iterdir())
    check_shared(tmp_path / "missing")  # by one process alone


def test_a_host_that_does_not_see_it_is_named_by_all(tmp_path, monkeypatch):
    monkeypatch.setattr(directory, "_SEEN_WITHIN", 0.3)
    places = [tmp_path / "0", tmp_path / "1"]
    for place in places:
        place.mkdir()
    found = in_all(lambda group: check_seen(group, places[group.index]), groups(2))
    for error in found:
        assert isinstance(error, HostsError)
        assert error.common
        assert "process 1 on host1 does not see what process 0 on host0 writes" in str(error)
    assert not list(places[0].iterdir())


def test_what_the_first_cannot_write_is_not_looked_for(tmp_path):
    missing = tmp_path / "missing"
    assert in_all(lambda group: check_seen(group, missing), groups(2)) == [None] * 2


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_a_network_disk_may_be_slow(tmp_path, monkeypatch, late):
    import threading

    file = tmp_path / "token"
    threading.Timer(late, file.touch).start()
    assert directory._is_there(file)
