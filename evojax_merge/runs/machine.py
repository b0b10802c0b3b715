"""On which machine, with which devices and versions, something is computed."""

import os
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

import jax

from evojax_merge import __version__, hosts
from evojax_merge.documents.bundled import PACKAGE

_DRIVER = Path("/proc/driver/nvidia/version")
_PROCESSORS = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """What this process computes on and with, as plain values.

    It holds nothing of the environment's variables and of users. Several processes each call it,
    and learn of all hosts.
    """
    devices = jax.devices()
    return {
        "versions": hosts.versions() | {"evojax-merge": __version__},
        "git": checkout(PACKAGE.parent),
        "system": platform.platform(),
        "hosts": sorted(set(hosts.gather(socket.gethostname()))),
        "cpu": {"model": _processor(), "cores": _cores()},
        "devices": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
            "processes": jax.process_count(),
            "runtime": devices[0].client.platform_version.splitlines()[0],
        },
        "driver": _first_line(_DRIVER),
    }


def checkout(directory: Path) -> dict[str, Any] | None:
    """The revision of git that a directory is a checkout of, and whether files differ from it.

    None where the directory is no checkout, or git is not installed.
    """
    if not (directory / ".git").exists():
        return None
    revision = _git(directory, "rev-parse", "HEAD")
    changed = _git(directory, "status", "--porcelain", "--untracked-files=no")
    if revision is None:
        return None
    return {"revision": revision, "dirty": None if changed is None else bool(changed)}


def _git(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    try:
        lines = _PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_line(file: Path) -> str | None:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return lines[0].strip() if lines else None
