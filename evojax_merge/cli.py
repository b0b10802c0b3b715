"""The command line: what is asked for is carried out, and its errors end in one line.

Exit codes are 0 when all is done, 1 for an error inside the program, 2 for one of the user's, and
130 when interrupted.
"""

import functools
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from evojax_merge import hosts
from evojax_merge.search.interruption import (
    EXIT_CODE,
    Interrupted,
    Interruption,
    end_if_asked_twice,
    watch,
)

TRACEBACK = "HYDRA_FULL_ERROR"
"""The environment variable that brings the traceback of an error back, as in Hydra."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, and exit with 2 on an error of the user's or with 130 when interrupted."""
    try:
        with watch() as interruption, end_if_asked_twice():
            _main(list(sys.argv[1:] if arguments is None else arguments), interruption)
    except KeyboardInterrupt:  # before or after the command, or one that is not ours
        hosts.leave(EXIT_CODE)
        sys.exit(EXIT_CODE)
    except SystemExit as ended:
        if ended.code:
            hosts.leave(int(ended.code))
        raise
    except Exception:
        if hosts.active():  # Python's own end would wait for processes that may be gone
            traceback.print_exc()
            hosts.leave(1)
        raise


def _main(given: Sequence[str], interruption: Interruption) -> None:
    # Not above, or Ctrl-C would meet Python's own handler for as long as the imports take.
    import typer
    from rich.console import Console

    from evojax_merge.commands.app import COMMANDS, app
    from evojax_merge.documents.terminal import complain, say, show_warning

    console = Console()
    warnings.showwarning = functools.partial(show_warning, console)

    asked: list[tuple[str, dict[str, Any]]] = []

    shows_traceback = os.environ.get(TRACEBACK)
    os.environ[TRACEBACK] = "1"  # else Hydra exits by itself, with its own message
    try:
        try:
            app(
                given or ["--help"],
                obj=lambda command, **options: asked.append((command, options)),
                prog_name="evojax-merge",
                standalone_mode=False,
            )
            for command, options in asked:  # not within the app, which would swallow Ctrl-C
                module = importlib.import_module(f"evojax_merge.commands.{command}")
                interruption.check()  # which a library may have swallowed
                module.run(console, **options)
        except Exception:
            interruption.check()  # of which a library may have made another error
            raise
    except Interrupted as interrupted:
        say(console, "everything completed is saved", label=f"stopped by {interrupted};")
        sys.exit(EXIT_CODE)
    except typer.Abort:
        sys.exit(EXIT_CODE)
    except typer.TyperException as error:
        complain(f"error: {error.format_message()}")
        name = f"{given[0]} " if given and given[0] in COMMANDS else ""
        complain(f"(evojax-merge {name}--help shows what there is)")
        sys.exit(2)
    except (ValueError, OSError) as error:
        if shows_traceback:
            raise
        if isinstance(error, hosts.HostsError) and error.common and not hosts.is_first():
            sys.exit(2)  # process 0 says it for all
        if isinstance(error, hosts.HostsError):  # where it came from is another process
            complain(f"error: {error}")
            sys.exit(2)
        complain(f"error: {error}")
        if not _is_expected(error):
            complain(f"({TRACEBACK}=1 shows where it came from)")
        sys.exit(2)
    finally:
        if shows_traceback is None:
            del os.environ[TRACEBACK]


def _is_expected(error: ValueError | OSError) -> bool:
    """Whether an error says all: one that this package raises, or one of the system."""
    raised_in = [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__)]
    return isinstance(error, OSError) or raised_in[-1].partition(".")[0] == "evojax_merge"
