"""Tensors worked on in threads; NumPy leaves the interpreter's lock in most of what it does."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from os import cpu_count
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = min(8, cpu_count() or 1)
"""Tensors worked on at once; each takes up to 16 bytes an element."""


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Map over tensors. A function that is mapped may map too: there are never more threads."""
    waiting = deque(enumerate(items))
    results: dict[int, R] = {}

    def work() -> None:
        while waiting:
            try:
                index, item = waiting.popleft()
            except IndexError:  # another thread took the last one
                return
            results[index] = function(item)

    helpers = [_helpers().submit(work) for _ in range(min(MOST_THREADS, len(waiting)) - 1)]
    try:
        work()
    finally:
        waiting.clear()
        running = [helper for helper in helpers if not helper.cancel()]
    for helper in running:
        helper.result()
    return [results[index] for index in sorted(results)]


@cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(MOST_THREADS - 1, 1), thread_name_prefix="tensors")
