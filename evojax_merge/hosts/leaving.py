"""How several processes stop together: on a signal to one of them, or when one fails."""

import atexit
import contextlib
import time
from collections.abc import Callable, Iterator

from evojax_merge.hosts.group import Group, HostsError, active, first_line, set_group
from evojax_merge.hosts.watching import Watcher, end_now

_LOST = ("Gloo", "onnection", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "NCCL", "heartbeat")
"""What errors of collectives, which are JAX's, say where another process is gone."""

_UNTIL_KNOWN = 12.0
"""The seconds in which it turns out which process is gone, or what another one failed of."""

_UNTIL_LEFT = 10.0
"""The seconds that processes which end wait for one another."""

_watcher: Watcher | None = None
_abandoned = False
_told_stop: Callable[[int], None] | None = None


def watch_over(group: Group, heartbeat: float) -> None:
    """Run together from now on."""
    global _watcher
    set_group(group)
    _watcher = Watcher(group, heartbeat, _on_stop)
    _watcher.start()
    atexit.register(_part)  # before JAX's own, which closes what the watcher speaks through


def abandon() -> None:
    """Say that processes could not be connected, so that JAX's runtime is left as it is."""
    global _abandoned
    _abandoned = True


def on_stop(told: Callable[[int], None] | None) -> None:
    """Have a function told the number of a signal that has come to another process, or none."""
    global _told_stop
    _told_stop = told


def _on_stop(number: int) -> None:
    if (told := _told_stop) is not None:
        told(number)


def tell_stop(number: int) -> None:
    """Tell all processes of a signal; its handler may call this."""
    if _watcher is not None:
        _watcher.tell_stop(number)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Tell the others of an error that leaves the block, so that they end as well.

    Raises:
        HostsError: The error is that another process has ended or failed.
    """
    group, watcher = active(), _watcher
    if group is None or watcher is None:
        yield
        return
    group.running = True
    try:
        yield
    except HostsError:
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in _LOST):
            _explain(group, watcher, error)
        group.told = True
        said = str(error) if isinstance(error, ValueError | OSError) else first_line(error)
        if not watcher.tell_failure(f"{group.names[group.index]} failed: {said}") and group.index:
            while group.failure is None and watcher.is_alive():
                time.sleep(0.1)
            if (group.failure or "").endswith(f" failed: {said}"):  # who was faster says it
                raise HostsError(said, common=True) from error
        raise
    finally:
        group.running = False


def leave(code: int) -> None:
    """End this process with a code, and not before the others; do nothing where it is alone.

    JAX's own end waits for processes that may be gone.
    """
    group, watcher = active(), _watcher
    if group is None or watcher is None:
        if _abandoned:
            end_now(code, None)
        return
    group.told = True
    watcher.tell_left()
    until = time.monotonic() + _UNTIL_LEFT
    while group.index == 0 and time.monotonic() < until and not watcher.all_left():
        time.sleep(0.1)
    if group.index == 0:
        time.sleep(0.5)  # who has said so has yet to do it
    end_now(code, watcher)


def _explain(group: Group, watcher: Watcher, error: Exception) -> None:
    """Raise what is behind an error of a collective; return where it is one of this process."""
    until = time.monotonic() + _UNTIL_KNOWN
    while time.monotonic() < until:
        group.raise_failure()
        if gone := watcher.silent(4.0) or watcher.left():
            group.told = True
            message = watcher.gone(gone)
            watcher.tell_failure(message)
            raise HostsError(message) from error
        time.sleep(0.2)


def _part() -> None:
    global _watcher
    if _watcher is not None:
        _watcher.tell_left()
        _watcher.end()
        _watcher = None
    set_group(None)
