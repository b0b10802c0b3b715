"""A GPU of its own for each process that does jobs of a sweep on one machine."""

import fcntl
import os
import re
import socket
from pathlib import Path
from typing import BinaryIO

from evojax_merge.documents.caches import cache_directory

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The environment variable by which CUDA, and with it JAX, shows a process some GPUs only."""

_DRIVER = Path("/proc/driver/nvidia/gpus")

_held: list[BinaryIO] = []
"""The lock on this process's GPU, which the system gives back when the process ends."""


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if (given := os.environ.get(VISIBLE)) is not None:
        return [one.strip() for one in given.split(",") if one.strip() not in ("", "-1")]
    return [str(index) for index in range(len(list(_DRIVER.glob("*"))))]


def claim_gpu() -> None:
    """Show this process one GPU that no other process has claimed, for as long as it lives.

    JAX must not have been asked for its devices yet. A machine without GPUs is left as it is.

    Raises:
        ValueError: Every GPU is claimed.
    """
    gpus = visible_gpus()
    if _held or not gpus:
        return
    folder = Path(cache_directory("gpus"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for gpu in gpus:
        name = re.sub(r"[^\w-]", "_", f"{socket.gethostname()}_{gpu}")
        file = (folder / f"{name}.lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _held.append(file)
        os.environ[VISIBLE] = gpu
        return
    raise ValueError(
        f"--gpu-each: all {len(gpus)} GPUs of this machine are taken by other jobs; start at most "
        f"as many at once (hydra.launcher.n_jobs={len(gpus)})"
    )
