"""Counts what XLA compiles."""

import contextlib
from collections.abc import Iterator

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"
_FOUND = "/jax/compilation_cache/cache_hits"


class Compilations:
    """How many programs were made within the block.

    Attributes:
        count: How many were compiled or found in a cache on disk.
        found: How many of these were found.
    """

    count = 0
    found = 0

    @property
    def compiled(self) -> int:
        """How many were compiled."""
        return self.count - self.found

    def of_duration(self, event: str, seconds: float, **kwargs: object) -> None:
        self.count += event == _EVENT

    def of_event(self, event: str, **kwargs: object) -> None:
        self.found += event == _FOUND


@contextlib.contextmanager
def count_compilations() -> Iterator[Compilations]:
    """Count the programs made within the block."""
    counter = Compilations()
    jax.monitoring.register_event_duration_secs_listener(counter.of_duration)
    jax.monitoring.register_event_listener(counter.of_event)
    try:
        yield counter
    finally:
        jax.monitoring.unregister_event_duration_listener(counter.of_duration)
        jax.monitoring.unregister_event_listener(counter.of_event)
