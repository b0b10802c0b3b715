"""A process that makes inputs, reads them, and says how each ended.

One input again, with where its error came from: ``python -m tests.fuzz.worker GROUP NUMBER``.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

MEMORY = 4 * 2**30
"""Bytes that an input may take beyond what the process holds before."""


def outcome(group: str, number: int, valid: "object", folder: Path) -> tuple[str, str]:
    """How an input ended, ``error``, a word of its reader's, ``wrong``, ``traceback`` or
    ``code run``; and the message."""
    from tests.fuzz import groups, mutate

    rng = random.Random(f"{group} {number}")
    home = folder / "input"
    home.mkdir()
    with contextlib.chdir(home):
        read = groups.ALL[group](rng, valid, home)
        try:
            how, message = read(), ""
        except groups.WrongError as error:
            how, message = "wrong", str(error)
        except (ValueError, OSError) as error:
            how, message = "error", str(error)
        except (Exception, SystemExit) as error:
            lines = traceback.format_exception(error)
            how, message = "traceback", "".join(lines)
        if list(folder.rglob(mutate.CANARY)):
            how = "code run"
    shutil.rmtree(home)
    return how, message


def main() -> None:
    """Read inputs' names from the standard input, one a line, and answer each with a line."""
    from tests.fuzz.valid import Valid

    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    if len(sys.argv) == 1:
        os.dup2(2, 1)  # what libraries print is no answer
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        valid = Valid(folder / "valid")
        if len(sys.argv) == 3:
            print(*outcome(sys.argv[1], int(sys.argv[2]), valid, folder), sep="\n")
            return
        with open("/proc/self/statm", encoding="ascii") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            group, number = line.split()
            how, message = outcome(group, int(number), valid, folder)
            print(json.dumps([how, message[-4_000:]]), file=answers, flush=True)
    os._exit(0)  # threads of libraries need not be waited for


if __name__ == "__main__":
    main()
