"""A program that runs another one that a model wrote, in limits, and says whether it ended well.

The module `code` starts it with ``python -I`` and never imports it. It reads what it needs as JSON
from its input, and writes a line of JSON that holds the secret of its input, so that a program
which leaves early is not taken for one that passed.
"""

import contextlib
import ctypes
import json
import os
import resource
import sys
import types
from typing import Any

_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
_DIES_WITH_PARENT, _KILL = 1, 9
_LARGEST_FILE = 2**26
_FILES = 64


def main() -> None:
    """Run the program that the input holds."""
    given = json.loads(sys.stdin.buffer.read())
    said = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    network = not _leave_network()
    _limit(given["seconds"], given["memory"])
    found = {"secret": given["secret"], "network": network, "error": _error(given["program"])}
    os.write(said, json.dumps(found).encode() + b"\n")
    os._exit(0)


def _error(program: str) -> str | None:
    """What goes wrong in a program, or None."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        exec(compile(program, "answer", "exec"), module.__dict__)
    except BaseException as error:  # SystemExit too: the tests have not been reached then
        line = None
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "answer":
                line = trace.tb_lineno
            trace = trace.tb_next
        with contextlib.suppress(BaseException):
            place = "" if line is None else f" (line {line})"
            return f"{type(error).__name__}: {str(error)[:500]}".rstrip(": ") + place
        return type(error).__name__
    return None


def _leave_network() -> bool:
    """Go to a network of its own, which has no connection; say whether that was possible.

    Linux lets a user do so in a user namespace, unless the administrator has forbidden it.
    """
    if not sys.platform.startswith("linux"):
        return False
    library: Any = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    left = library.unshare(_NEW_USER | _NEW_NETWORK) == 0
    library.prctl(_DIES_WITH_PARENT, _KILL, 0, 0, 0)  # which other rights would undo
    if not left:
        return False
    with contextlib.suppress(OSError):  # without these it could make no files
        for name, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)
    return True


def _limit(seconds: float, memory: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = used.ru_utime + used.ru_stime
    most = int(-(-(spent + seconds) // 1))
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    # Where there is no such file or no such limit, as on macOS, time alone bounds it.
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))


if __name__ == "__main__":
    main()
