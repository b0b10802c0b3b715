"""The start of processes that run together, before any of them uses a device."""

import os
import socket
import threading
import time
from typing import Any

from evojax_merge.hosts.group import Group, HostsError, active, compare, first_line
from evojax_merge.hosts.leaving import abandon, together, watch_over
from evojax_merge.hosts.packages import versions
from evojax_merge.hosts.settings import DistributedConfig, Place, place_of, whole_seconds
from evojax_merge.hosts.watching import expect_abort

_LATER = 30
"""The seconds by which JAX's own runtime ends a process later than we do, who say why."""

_NEVER = 10**6
"""The seconds after which JAX would abort a process that waits for the others; we say why first."""

_SHUTDOWN = 30
"""The seconds that JAX waits for the others at the end, where all have agreed to be done."""


def start(settings: DistributedConfig | None = None) -> None:
    """Connect with the other processes of the run, if there are any; the second call does nothing.

    It must be called before a device is used. A program that has called
    ``jax.distributed.initialize`` itself is taken as it is.

    Args:
        settings: Who the others are; by default, what is recognised.

    Raises:
        ValueError: A setting makes no sense.
        HostsError: The others cannot be reached, or have other versions of packages.
    """
    if active() is not None:
        return
    settings = settings or DistributedConfig()
    place = place_of(settings)
    import jax

    if jax.distributed.is_initialized():
        if jax.process_count() == 1:
            return
    elif place is None:
        return
    else:
        _initialise(place, settings)
    group = _group()
    watch_over(group, settings.heartbeat)
    with together():
        told = {"distributed.processes": str(group.count)}
        compare("settings", told, "Give all processes the same number")
        compare("packages", versions(), "Install the same versions on all hosts")
        jax.devices()  # found in all processes at once; later, one may be waiting for another


def _group() -> Group:
    """The processes that JAX has connected. Its key-value store has no public way yet."""
    from jax._src import distributed

    state = distributed.global_state
    group = Group(state.client, state.process_id, state.num_processes)
    hosts = group.gather(socket.gethostname())
    group.names = [f"process {index} on {host}" for index, host in enumerate(hosts)]
    return group


def _initialise(place: Place, settings: DistributedConfig) -> None:
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from us
    if jax.config.jax_cpu_collectives_implementation is None:  # type: ignore[attr-defined]
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    began = time.monotonic()
    address = place.coordinator
    if address is not None:
        if place.process == 0:
            _check_port(address)
        else:
            _reach(address, settings.timeout)
    expect_abort(lambda: _refusal(place, time.monotonic() - began, "JAX's runtime aborted"))
    raised: list[Exception] = []

    def connect() -> None:
        try:
            jax.distributed.initialize(
                coordinator_address=address,
                num_processes=place.processes,
                process_id=place.process,
                cluster_detection_method=place.cluster or "deactivate",
                initialization_timeout=_NEVER,
                heartbeat_timeout_seconds=whole_seconds(settings.heartbeat) + _LATER,
                shutdown_timeout_seconds=_SHUTDOWN,
            )
        except Exception as error:  # of many kinds
            raised.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    try:
        thread.start()
        while thread.is_alive() and time.monotonic() < began + settings.timeout:
            thread.join(0.2)  # so that Ctrl-C is heard
        if thread.is_alive():
            raise HostsError(_refusal(place, settings.timeout, "not all of them came"))
    except BaseException:
        abandon()
        raise
    if raised:
        abandon()
        waited = time.monotonic() - began
        if "before" in str(raised[0]) and isinstance(raised[0], RuntimeError):
            raise HostsError(
                "the processes of a run are connected before JAX uses a device, and this program "
                "has used one; call evojax_merge.evolve, or jax.distributed.initialize, first"
            ) from raised[0]
        raise HostsError(_refusal(place, waited, first_line(raised[0]))) from raised[0]


def _refusal(place: Place, waited: float, reason: str) -> str:
    where = "" if place.coordinator is None else f" at {place.coordinator}"
    return (
        f"process {place.process} of {place.processes} could not be connected with the others"
        f"{where} within {waited:.0f} s ({reason}); check that {place.processes} processes were "
        f"started, each with a number of its own from 0 to {place.processes - 1}, and all with the "
        "same coordinator and number of processes; see what the others printed"
    )


def _check_port(address: str) -> None:
    """Raise if process 0 cannot be found at its own address."""
    port = int(address.rpartition(":")[2])
    try:
        with socket.create_server(("", port)):
            pass
    except OSError as error:
        raise HostsError(
            f"distributed.coordinator={address}: port {port} cannot be opened here "
            f"({os.strerror(error.errno or 0)}); is another run using it? Give another one to all "
            "processes"
        ) from error


def _reach(address: str, timeout: float) -> None:
    """Wait until process 0 listens."""
    host, _, port = address.rpartition(":")
    until = time.monotonic() + timeout
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
                return
        except OSError as error:
            reason: Any = error.strerror or error
        if time.monotonic() > until:
            raise HostsError(
                f"distributed.coordinator={address} could not be reached within {timeout:g} s "
                f"({reason}); check that process 0 runs there, that the name or address is that of "
                "its machine as this one sees it, and that no firewall closes the port"
            )
        time.sleep(0.2)
