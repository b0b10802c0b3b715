"""Counts what XLA compiles."""

import contextlib
from collections.abc import Iterator

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"


class Compilations:
    """How many programs were compiled within the block."""

    count = 0

    def __call__(self, event: str, seconds: float, **kwargs: object) -> None:
        self.count += event == _EVENT


@contextlib.contextmanager
def count_compilations() -> Iterator[Compilations]:
    """Count the programs compiled within the block."""
    counter = Compilations()
    jax.monitoring.register_event_duration_secs_listener(counter)
    try:
        yield counter
    finally:
        jax.monitoring.unregister_event_duration_listener(counter)
