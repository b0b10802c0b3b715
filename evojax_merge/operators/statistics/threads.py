"""Tensors worked on in threads; NumPy leaves the interpreter's lock in most of what it does.

BLAS would start threads of its own for each inner product, which take turns with these.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from os import cpu_count
from threading import Lock
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = min(8, (cpu_count() or 1) + 1)
"""How many tensors are worked on at once; each takes up to 22 bytes an element. It is one more than
there are processors, since tensors wait for compiled programs."""


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

    with blas_of_one_thread():
        helpers = [_helpers().submit(work) for _ in range(min(MOST_THREADS, len(waiting)) - 1)]
        try:
            work()
        finally:
            waiting.clear()
            running = [helper for helper in helpers if not helper.cancel()]
        for helper in running:
            helper.result()
    return [results[index] for index in sorted(results)]


_inside: list[Any] = []
"""The limit that is set, once for each of those who are inside."""

_entering = Lock()


@contextmanager
def blas_of_one_thread() -> Iterator[None]:
    """Keep BLAS from starting threads, in all of the process, until the last one leaves."""
    with _entering:
        _inside.append(_inside[0] if _inside else _controller().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _entering:
            limit = _inside.pop()
            if not _inside:
                limit.restore_original_limits()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(MOST_THREADS - 1, 1), thread_name_prefix="tensors")
