"""Several processes, usually one a host, that carry out one run together.

JAX's own runtime connects them (``jax.distributed``). What it does not say is here: who writes,
what all agree on, and how nobody is left waiting when one stops or fails. With one process
everything here is free, and touches no device.
"""

from evojax_merge.hosts.directory import check_shared
from evojax_merge.hosts.group import (
    HostsError,
    active,
    agree,
    agree_bytes,
    any_of,
    barrier,
    check_same,
    compare,
    gather,
    is_first,
    least,
    most,
    set_group,
)
from evojax_merge.hosts.leaving import leave, on_stop, tell_stop, together
from evojax_merge.hosts.packages import versions
from evojax_merge.hosts.settings import DistributedConfig, place_of
from evojax_merge.hosts.starting import start
from evojax_merge.hosts.stopping import Interrupted

__all__ = [
    "DistributedConfig",
    "HostsError",
    "Interrupted",
    "active",
    "agree",
    "agree_bytes",
    "any_of",
    "barrier",
    "check_same",
    "check_shared",
    "compare",
    "gather",
    "is_first",
    "least",
    "leave",
    "most",
    "on_stop",
    "place_of",
    "set_group",
    "start",
    "tell_stop",
    "together",
    "versions",
]
