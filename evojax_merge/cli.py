"""The command line, with the commands evolve, plan, resume, apply, convert and evaluate."""

import functools
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

from evojax_merge import __version__, hosts
from evojax_merge.documents.bundled import conf_directory
from evojax_merge.search.interruption import (
    EXIT_CODE,
    Interrupted,
    Interruption,
    end_if_asked_twice,
    watch,
)

USAGE = """\
usage: evojax-merge evolve [--config-dir DIR] [-m [--gpu-each]] [KEY=VALUE ...]
       evojax-merge plan [--topology local|v5e:4x4|h100:8|...] [--json FILE] [--items N]
                              [--prompt-tokens N] [--answer-tokens N] [KEY=VALUE ...]
       evojax-merge resume RUN_DIR [--trust-config] [distributed.KEY=VALUE ...]
       evojax-merge resume SWEEP_DIR [--trust-config] [--gpu-each] [hydra/launcher=NAME ...]
                              [distributed.KEY=VALUE ...]
       evojax-merge apply RECIPE --out DIR [--overwrite] [--trust-operator] [--force]
                              [--seed N] [--strict]
       evojax-merge apply RUN_DIR --select knee|INDEX|TASK=WEIGHT,... --out DIR
       evojax-merge apply RUN_DIR|RECIPE --images PROMPTS [--out DIR]
       evojax-merge convert RECIPE --out FILE.yml
       evojax-merge evaluate MODEL [--config-dir DIR] [--split SPLIT] [--out DIR] [--force]
                              [--trust-operator] [KEY=VALUE ...]
       evojax-merge evaluate RUN_DIR [--trust-config] [--split SPLIT] [--out DIR] [--force]
       evojax-merge --version

evolve    search for the best merge of some models; -m sweeps comma-separated values
plan      say whether that search fits on a machine, and how long it takes at least, before
          anything is downloaded or rented
resume    continue a run, or all jobs of a sweep, after any interruption
apply     build the checkpoint that a recipe, or a YAML of mergekit, describes
convert   write a recipe as a YAML of mergekit
evaluate  measure a checkpoint or a recipe, e.g. fitness=generation fitness.data=items.jsonl;
          a run's winner, by the run's own measure

KEY=VALUE chooses and changes configuration: model.base=DIR 'model.sources=[DIR,DIR]'
operator=ties space=parameter_groups strategy=cma_es fitness=generation fitness.data=items.jsonl
seed=1 search.evaluations=500 +experiment=NAME. All keys: conf/config.yaml and its groups in
"""

COMMANDS = ("evolve", "plan", "resume", "apply", "convert", "evaluate")

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
    from rich.console import Console

    from evojax_merge.documents.terminal import complain, say, show_warning

    console = Console()
    warnings.showwarning = functools.partial(show_warning, console)
    command, rest = (given[0], given[1:]) if given else ("--help", [])
    if command == "--version":
        print(f"evojax-merge {__version__}")
        sys.exit(0)
    if command not in COMMANDS:
        asked = command in ("-h", "--help", "help")
        print(USAGE + f"{conf_directory()}", file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    shows_traceback = os.environ.get(TRACEBACK)
    os.environ[TRACEBACK] = "1"  # else Hydra exits by itself, with its own message
    try:
        try:
            module = importlib.import_module(f"evojax_merge.commands.{command}")
            interruption.check()  # which a library may have swallowed
            module.run(rest, console)
        except Exception:
            interruption.check()  # of which a library may have made another error
            raise
    except Interrupted as interrupted:
        say(console, "everything completed is saved", label=f"stopped by {interrupted};")
        sys.exit(EXIT_CODE)
    except (ValueError, OSError) as error:
        if shows_traceback:
            raise
        if isinstance(error, hosts.HostsError) and error.common and not hosts.is_first():
            sys.exit(2)  # process 0 says it for all
        if isinstance(error, hosts.HostsError):  # where it came from is another process
            complain(f"error: {error}")
            sys.exit(2)
        _fail(str(error))
    finally:
        if shows_traceback is None:
            del os.environ[TRACEBACK]


def _fail(message: str) -> NoReturn:
    from evojax_merge.documents.terminal import complain

    complain(f"error: {message}")
    complain(f"({TRACEBACK}=1 shows where it came from)")
    sys.exit(2)
