"""Answers that are programs, which are right when they pass the tests of their items.

Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374 (HumanEval), and
Austin et al., "Program Synthesis with Large Language Models", arXiv 2108.07732 (MBPP).

A program runs in a process of its own with limits. That is no sandbox: it can read and write what
the user can (see ``docs/trust.md``), so none runs unless the user asks for it.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evojax_merge.documents.arguments import check_number
from evojax_merge.fitness.base import FRACTION, Measure
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.judging.fences import fenced_blocks
from evojax_merge.fitness.judging.score import Case, Score, Verdict
from evojax_merge.fitness.text import fill, template_fields

PROGRAM = "{code}\n\n{tests}"

_RUNNER = Path(__file__).with_name("code_process.py")

_ENVIRONMENT = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}
"""The environment of a program, which may start no threads."""

_LARGEST = 65_536
"""The most bytes that are read of what the process says."""

_LONGEST_NOTE = 500
"""The most characters of a message that are kept."""

_REMEMBERED = 1_000_000
"""How many programs' verdicts are remembered."""


class CodeScore(Score):
    """1 where the code of an answer passes its item's tests, 0 elsewhere.

    The code is the last fenced block of the answer, or else all of it. Equal programs run once.

    Args:
        program: The program, with ``{code}`` for the code and fields of the item in braces; a
            field may be a list of texts, which become lines.
        allowed: Whether the user has asked for programs to be run.
        seconds: How many seconds of processor time a program may take.
        memory_gb: How much memory it may take, in 10**9 bytes.
        task: The name of the task in messages.

    Raises:
        ValueError: A setting makes no sense, or programs may not be run.
    """

    measure = Measure("pass@1", FRACTION)
    compares = False
    outside = True

    def __init__(
        self, program: str, allowed: bool, seconds: float, memory_gb: float, task: str
    ) -> None:
        if "code" not in template_fields(program):
            raise ValueError(f"{task}: program {program!r} has no {{code}}, the answer's code")
        check_number(f"{task}: code_seconds", seconds, 0.1, 3_600)
        check_number(f"{task}: code_memory_gb", memory_gb, 0.05)
        if not allowed:
            raise ValueError(
                f"{task}: score=code would run the programs that models write on this machine, "
                "each in a process with limits on time and memory, that can read and write what "
                "you can; if you want that, say fitness.run_code=true"
            )
        self._program, self._task = program, task
        self._seconds, self._memory = seconds, int(memory_gb * 1e9)
        self._known: dict[bytes, Verdict] = {}
        self._told = False

    def known(self, value: Any) -> Any:
        """Nothing; the tests are fields of the item."""
        return None

    def check(self, record: Record) -> None:
        """Raise a `DataError` if an item lacks a field of the program."""
        self.whole("", record)

    def whole(self, answer: str, record: Record) -> str:
        """The program that an answer is part of."""
        fields = {name: _lines(value) for name, value in record.fields.items()}
        code = (fenced_blocks(answer) or [answer])[-1]
        return fill(self._program, record._replace(fields={**fields, "code": code}))

    def verdicts(
        self, answers: Sequence[str], cases: Sequence[Case], foreign: Sequence[bool]
    ) -> list[Verdict]:
        """Run the programs, as many at a time as there are processors."""
        given = zip(answers, cases, foreign, strict=True)
        programs = ["" if other else self.whole(text, case.record) for text, case, other in given]
        names = [hashlib.sha256(program.encode(errors="replace")).digest() for program in programs]
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        new = {
            name: program
            for name, program in zip(names, programs, strict=True)
            if name not in self._known
        }
        pool = ThreadPoolExecutor(_processors(), thread_name_prefix="code")
        try:
            self._known |= zip(new, pool.map(self._run, new.values()), strict=True)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return [self._known[name] for name in names]

    def _run(self, program: str) -> Verdict:
        """Run a program, which is right if it comes to its end."""
        if not program.strip():
            return Verdict(0.0, "no code")
        said = run_program(program, self._seconds, self._memory)
        if said.get("network") and not self._told:
            self._told = True
            warnings.warn(
                f"{self._task}: this system does not keep programs from the network, so that code "
                "that models write can reach it",
                RuntimeWarning,
                stacklevel=2,
            )
        error = said.get("error")
        return Verdict(float(error is None), str(error)[:_LONGEST_NOTE] if error else "")


_RUNNING = threading.BoundedSemaphore(os.cpu_count() or 1)
"""Tasks that judge at the same time share the processors."""


def run_program(program: str, seconds: float, memory: int) -> dict[str, Any]:
    """Run a program in a process of its own, in a folder of its own.

    Args:
        program: The program.
        seconds: The most seconds of processor time; the clock may show three times as much.
        memory: The most bytes of memory beyond those that Python begins with.

    Returns:
        What went wrong as ``error``, which is None where nothing did, and whether the program could
        reach the network.
    """
    secret = os.urandom(16).hex()
    given = {"program": program, "seconds": seconds, "memory": memory, "secret": secret}
    with (
        _RUNNING,
        tempfile.TemporaryDirectory(prefix="code-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as said,
    ):
        process = subprocess.Popen(
            [sys.executable, "-I", str(_RUNNER)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"HOME": folder, "TMPDIR": folder, **_ENVIRONMENT},
            start_new_session=True,
        )
        late = False
        try:
            process.communicate(json.dumps(given).encode(), timeout=3 * seconds + 5)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        content = said.read(_LARGEST)
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and found.get("secret") == secret:
                return found
    if late or -process.returncode in (signal.SIGXCPU, signal.SIGKILL):
        return {"error": f"it takes longer than {seconds:g} seconds"}
    return {"error": f"its process ended with {process.returncode} before the tests did"}


def _lines(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "\n".join(value)
    return value


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1
