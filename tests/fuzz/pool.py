"""Workers that read inputs side by side; one that hangs or dies is replaced."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.processes import environment

SECONDS = 20
"""That an input may take."""

BAD = ("wrong", "traceback", "code run", "hang", "death")
"""How no input may end."""


class Ended(NamedTuple):
    """How an input ended, and the message or traceback."""

    group: str
    number: int
    how: str
    message: str


class _Worker:
    def __init__(self) -> None:
        # The program's limits are on address space: fewer arenas and threads leave more of it.
        more = {"MALLOC_ARENA_MAX": "2", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(**more),
            start_new_session=True,
        )
        if self._answer(120) != "ready":
            self.end()
            raise RuntimeError("a worker does not start: run python -m tests.fuzz.worker")

    def read(self, group: str, number: int) -> Ended | None:
        """How an input ended; after hang or death the worker is of no use any more."""
        assert self._process.stdin is not None
        print(group, number, file=self._process.stdin, flush=True)
        answer = self._answer(SECONDS)
        if answer is None:
            return Ended(group, number, "hang", "")
        if not answer:
            return Ended(group, number, "death", f"code {self._process.wait()}")
        return Ended(group, number, *json.loads(answer))

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answer(self, seconds: float) -> str | None:
        """A line; None if it takes longer, nothing if the process is at its end."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return self._process.stdout.readline().rstrip("\n") if ready else None


def read_all(inputs: Sequence[tuple[str, int]], workers: int) -> list[Ended]:
    """How each input ended."""
    names = iter(inputs)
    lock = threading.Lock()
    found: list[Ended] = []

    def work() -> None:
        worker = None
        for group, number in _each(names, lock):
            worker = worker or _Worker()
            ended = worker.read(group, number)
            with lock:
                found.append(ended)
            if ended.how in ("hang", "death"):
                worker.end()
                worker = None
        if worker is not None:
            worker.end()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) < len(inputs):
        raise RuntimeError("a worker did not start: run python -m tests.fuzz.worker")
    return found


def _each(names: Iterator[tuple[str, int]], lock: threading.Lock) -> Iterator[tuple[str, int]]:
    while True:
        with lock:
            name = next(names, None)
        if name is None:
            return
        yield name


def table(found: Sequence[Ended]) -> str:
    """Counts by group and outcome."""
    counts = Counter((ended.group, ended.how) for ended in found)
    hows = sorted({how for _, how in counts}, key=lambda how: (how in BAD, how))
    rows = [["group", *hows]]
    for group in dict.fromkeys(ended.group for ended in found):
        rows.append([group, *(str(counts[group, how]) for how in hows)])
    rows.append(["all", *(str(sum(e.how == how for e in found)) for how in hows)])
    return "\n".join("".join(f"{cell:>12}" for cell in row) for row in rows)
