"""A process that has imported what a command needs, and forks one whenever it is told to.

Importing takes seconds, and a kill is to meet what comes after. A line of standard input is ``run``
and the command as JSON, answered by the process id, or ``wait`` and a process id, answered by how
it ended: its exit code, or minus the signal.
"""

import importlib
import json
import os
import sys
from pathlib import Path

from evojax_merge.cli import main

# Not evosax, which computes when it is imported: what has threads must not be forked.
IMPORTED = (
    "evojax_merge.search.checkpointer",
    "evojax_merge.exchange",
    "flax",
    "hydra",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "optax",
)


def run(arguments: list[str], log: str) -> int:
    """The id of a new process that carries out a command; its output is appended to a file."""
    if child := os.fork():
        return child
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (1, 2):
            os.dup2(file, stream)
        sys.stdin.close()
        main(arguments)
        sys.modules["jax"].distributed.shutdown()  # as at the end of any other process
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1
    for line in sys.stdin:
        command, _, given = line.partition(" ")
        if command == "run":
            arguments, log = json.loads(given)
            print(run(arguments, str(Path(log).absolute())), flush=True)
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(int(given), 0)[1]), flush=True)
