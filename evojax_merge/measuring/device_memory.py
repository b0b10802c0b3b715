"""How much fits on a device."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax

from evojax_merge import hosts
from evojax_merge.params.types import Params

_SHARE = 0.7
"""The share of the free memory that candidates may take; the compiler needs the rest."""

_TAKEN = {"gpu": (1.0, 1.75), "tpu": (1.6, 1.6)}
"""How many times the bytes that an ability tells programs take at most on a platform: those of one
candidate, and for each candidate those of several.

That is what compilers say for an H100 and a v5p of the programs in docs/results/compiled.md, of
which several candidates are in those for the H100 alone. Elsewhere it is about once."""

_EXHAUSTED = "RESOURCE_EXHAUSTED: "

OVERSTATED = 2.5
"""How many times too much abilities may tell (see the tests of the decoder's)."""

_SMALL = 2**20
"""The bytes of a model up to which a CPU measures several together in less time.

It takes half the time for 77 kB, and the same time for 3 MB."""


def free_bytes(device: jax.Device) -> int:
    """The bytes that can still be allocated on a device; a CPU device has the host's memory."""
    statistics = device.memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return free // max(jax.local_device_count(), 1)


class Memory(NamedTuple):
    """The memory of a device that candidates are measured on, which need not be there.

    Attributes:
        platform: The platform of the device, as JAX names it.
        free: The bytes that are free once what is merged lies there.
    """

    platform: str
    free: int

    @classmethod
    def of(cls, device: jax.Device) -> "Memory":
        """What a device has free now; of several processes, the least that one of them has."""
        return cls(device.platform, hosts.least(free_bytes(device)))

    @property
    def room(self) -> int:
        """The bytes that candidates may take."""
        return int(_SHARE * self.free)

    def room_for_work(self, candidate: int) -> int:
        """The bytes, as abilities tell them, that a program on one such candidate may take."""
        one, _ = _TAKEN.get(self.platform, (1.0, 1.0))
        return int((self.room - candidate) / one)

    def candidates(self, candidate: int, work: int) -> int:
        """How many candidates fit at a time; at least one is tried.

        Args:
            candidate: The bytes of what each has for itself.
            work: The bytes that a program takes for each, as abilities tell them.
        """
        _, several = _TAKEN.get(self.platform, (1.0, 1.0))
        return max(1, int(self.room / (candidate + several * work)))

    def longest(self, candidate: int, work: Callable[[int], int], hops: int) -> int:
        """The longest path of one candidate that fits, at most ``hops``.

        Args:
            candidate: The bytes of what the candidate has for itself.
            work: The function from a number of hops to the bytes of its cache and activations.
            hops: The number of hops that is asked for.
        """
        room = self.room_for_work(candidate)
        if work(hops) <= room:
            return hops
        each = max(1, work(2) - work(1))
        return max(0, min(hops, (room - work(1)) // each + 1))


def is_lack_of_memory(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether a device, or the compiler for it, says that memory is too little."""
    return _EXHAUSTED in str(error)


@contextlib.contextmanager
def within_memory(device: jax.Device, attempted: Callable[[], str]) -> Iterator[None]:
    """Say in words what did not fit where a device runs out of memory within the block.

    Args:
        device: The device.
        attempted: A function that says what was attempted.

    Raises:
        ValueError: The device runs out of memory.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not is_lack_of_memory(error):
            raise
        _, _, said = str(error).partition(_EXHAUSTED)
        raise ValueError(
            f"too little memory for {attempted()}: {' '.join(said.split())[:200]}; "
            f"{free_bytes(device) / 1e9:.2f} GB are free. Set search.chunk=1, shorten prompts or "
            "answers (fitness.max_new_tokens), or write fewer answers at a time (fitness.slots)"
        ) from error


def is_held_alone(platform: str, candidate: Params, paths: bool = False) -> bool:
    """Whether a device does best with one candidate at a time, however much memory it has.

    A CPU does, where a model takes more time than calls do. It measures no faster in company, and
    XLA puts a candidate among others on one core, in 16 bits by a pass over all of them in float32.
    Along paths, each candidate takes its own time.

    Args:
        platform: The platform of the device, as JAX names it.
        candidate: The parameters of one candidate, or their shapes.
        paths: Whether candidates are paths through layers.
    """
    leaves = jax.tree.leaves(candidate)
    large = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) > _SMALL
    narrow = any(leaf.dtype.itemsize == 2 for leaf in leaves)
    return platform == "cpu" and (paths or large or narrow)
