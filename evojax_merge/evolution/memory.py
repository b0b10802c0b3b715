"""How much fits on a device."""

import os

import jax

_SHARE = 0.7
"""Of the free memory that candidates may take; the rest is for what the compiler needs."""


def free_bytes(device: jax.Device) -> int:
    """Bytes that can still be allocated on a device; of the host's memory, for a CPU device."""
    statistics = device.memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return free // max(jax.local_device_count(), 1)


def candidates_that_fit(device: jax.Device, candidate: int) -> int:
    """Candidates of so many bytes that a device holds at a time; at least one is tried."""
    return max(1, int(_SHARE * free_bytes(device)) // candidate)
