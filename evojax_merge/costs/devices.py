"""What devices hold and do, by the names that JAX has for their kinds: published figures.

Sources: cloud.google.com/tpu/docs (v3, v4, v5e, v5p, v6e, tpu7x), and NVIDIA's data sheets of A100,
H100, H200 and B200, of dense products. A chip that JAX counts as two devices is halved. What a TPU
holds is what its compiler gives programs, where that is known to be less than is published.
"""

import os
import re
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

GIB = 2**30

PREALLOCATED = 0.75
"""The share of a GPU's memory that JAX takes, where XLA_PYTHON_CLIENT_MEM_FRACTION says none."""


class Figures(NamedTuple):
    """What a device holds and does at most.

    Attributes:
        memory: The bytes that programs may have.
        bandwidth: The bytes that its memory moves a second; None where it is not known.
        narrow: The operations a second of products of 16-bit numbers.
        wide: Those of float32, at JAX's default precision.
        source: Where the figures come from.
    """

    memory: float
    bandwidth: float | None
    narrow: float
    wide: float
    source: str = "published"

    def operations(self, itemsize: int) -> float:
        """Operations a second of products of numbers of so many bytes."""
        return self.narrow if itemsize <= 2 else self.wide

    def seconds(self, moved: float, operations: float, itemsize: int) -> float:
        """The least time that moving so many bytes beside so many operations takes."""
        return max(self.carrying(moved), self.computing(operations, itemsize))

    def carrying(self, moved: float) -> float:
        """The seconds that moving so many bytes takes; 0 where the bandwidth is not known."""
        return 0.0 if self.bandwidth is None else moved / self.bandwidth

    def computing(self, operations: float, itemsize: int) -> float:
        """The seconds that so many operations take."""
        return operations / self.operations(itemsize)


_TPU = {
    "TPU v3": Figures(15.75 * GIB, 450e9, 61.5e12, 61.5e12),  # a core of two
    "TPU v4": Figures(32 * GIB, 1228e9, 275e12, 275e12),
    "TPU v5 lite": Figures(15.75 * GIB, 819e9, 197e12, 197e12),
    "TPU v5": Figures(95 * GIB, 2765e9, 459e12, 459e12),
    "TPU v6 lite": Figures(31.25 * GIB, 1638e9, 918e12, 918e12),
    "TPU7x": Figures(96 * GIB, 3690e9, 1153e12, 1153e12),  # a core of two
}
_GPU = {
    "A100": Figures(85.1e9, 2039e9, 312e12, 156e12),
    "H100": Figures(84.9e9, 3352e9, 989e12, 494e12),
    "H200": Figures(151.4e9, 4800e9, 989e12, 494e12),
    "B200": Figures(191.5e9, 7672e9, 2250e12, 1125e12),
}


def figures_of(device: Any, described: bool = False) -> Figures | None:
    """What is known of a device: published figures, or for a CPU what is measured here and now.

    Args:
        device: The device of a mesh, or of a topology that programs are compiled for.
        described: Whether it is one of a topology, which nothing can be measured of.

    Returns:
        The figures, of which the memory of a device that is there is what it says by itself; None
        where the kind is not known.
    """
    if device.platform == "cpu":
        return None if described else _measured()
    found = _published(device.device_kind)
    if found is None:
        return None
    if described:
        share = _share() if device.platform == "gpu" else 1.0
        return found._replace(memory=share * found.memory)
    own = (device.memory_stats() or {}).get("bytes_limit")
    return found if own is None else found._replace(memory=own)


def _published(kind: str) -> Figures | None:
    if kind in _TPU:
        return _TPU[kind]
    names = re.findall("|".join(_GPU), kind)
    return _GPU[names[0]] if names else None


def _share() -> float:
    try:
        return float(os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"])
    except (KeyError, ValueError):
        return PREALLOCATED


def _measured(size: int = 1024, times: int = 3) -> Figures:
    """The memory of this host, and the fastest of some products; caches hide its bandwidth."""
    matrix = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(matrix, matrix))

    def once() -> float:
        began = time.perf_counter()
        jax.block_until_ready(product(matrix, matrix))
        return time.perf_counter() - began

    rate = 2 * size**3 / min(once() for _ in range(times))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    share = memory / max(jax.local_device_count(), 1)
    return Figures(share, None, rate, rate, "in float32, measured here and now")
