"""The check that all processes see the directory of a run, which one writes and all read."""

import contextlib
import json
import time
import uuid
from pathlib import Path

from evojax_merge.hosts.group import Group, HostsError, active

_SEEN_WITHIN = 10.0
"""The seconds after which a network disk shows on one host what another one has written."""


def check_shared(directory: Path) -> None:
    """Check that what process 0 writes in a directory is there for all.

    Args:
        directory: The directory; where process 0 cannot write it, nothing is checked.

    Raises:
        HostsError: A process does not see it; in all processes alike.
    """
    if (group := active()) is not None:
        check_seen(group, directory)


def check_seen(group: Group, directory: Path) -> None:
    """Do what `check_shared` says for the processes of a group."""
    file = directory / f".hosts-{uuid.uuid4().hex}"
    name = None
    if group.index == 0:
        with contextlib.suppress(OSError):
            file.touch()
            name = file.name
    name = json.loads(group.agree(json.dumps(name).encode() if group.index == 0 else None))
    if name is None:
        return
    try:
        seen = group.gather(_is_there(directory / name))
    finally:
        if group.index == 0:
            file.unlink(missing_ok=True)
    blind = [group.names[index] for index, sees in enumerate(seen) if not sees]
    if blind:
        raise HostsError(
            f"{directory}: {', '.join(blind)} {'do' if len(blind) > 1 else 'does'} not see what "
            f"{group.names[0]} writes there; one process writes a run and all read it, so put it "
            "on a file system that all hosts mount at the same path",
            common=True,
        )


def _is_there(file: Path) -> bool:
    until = time.monotonic() + _SEEN_WITHIN
    while not file.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
