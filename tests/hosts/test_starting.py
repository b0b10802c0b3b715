"""A coordinator that is not there, and a port that is taken, are said at once."""

import socket
import time

import pytest

from evojax_merge.hosts.group import HostsError
from evojax_merge.hosts.packages import versions
from evojax_merge.hosts.starting import _check_port, _reach


@pytest.fixture
def taken():
    """A port at which somebody listens."""
    with socket.create_server(("", 0)) as server:
        yield server.getsockname()[1]


def test_a_coordinator_that_is_not_there_is_named_with_what_to_check():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(
        HostsError, match=rf"localhost:{port} could not be reached within 1 s \("
    ) as found:
        _reach(f"localhost:{port}", 1)
    assert time.monotonic() - began < 30
    assert "check that process 0 runs there" in str(found.value)


def test_a_name_that_nobody_knows_is_said():
    with pytest.raises(HostsError, match=r"nobody\.invalid:80 could not be reached within 1 s"):
        _reach("nobody.invalid:80", 1)


def test_a_coordinator_that_listens_is_found(taken):
    _reach(f"localhost:{taken}", 1)


def test_a_port_that_is_taken_is_named(taken):
    with pytest.raises(HostsError, match=f"port {taken} cannot be opened here .*is another run"):
        _check_port(f"localhost:{taken}")


def test_versions_are_those_of_this_process():
    assert {"Python", "jax", "jaxlib", "numpy"} <= versions().keys()
