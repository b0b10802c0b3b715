"""The command line: evolve, resume, apply, convert, evaluate."""

import functools
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape

from evojax_merge.bundled import conf_directory
from evojax_merge.evolution.interruption import Interrupted

USAGE = """\
usage: evojax-merge evolve [--config-dir DIR] [-m] [KEY=VALUE ...]
       evojax-merge resume RUN_DIR
       evojax-merge apply RECIPE --out DIR [--overwrite] [--trust-operator] [--force] [--seed N]
       evojax-merge apply RUN_DIR --select knee|INDEX|TASK=WEIGHT,... --out DIR
       evojax-merge convert RECIPE --out FILE.yml
       evojax-merge evaluate MODEL [--config-dir DIR] [--split SPLIT] [--out DIR] [--force]
                              [KEY=VALUE ...]

evolve    search for the best merge of some models; -m sweeps comma-separated values
resume    continue a run after any interruption
apply     build the checkpoint that a recipe, or a YAML of mergekit, describes
convert   write a recipe as a YAML of mergekit
evaluate  measure a checkpoint or a recipe, e.g. fitness=generation fitness.data=items.jsonl

KEY=VALUE chooses and changes configuration: model.base=DIR 'model.sources=[DIR,DIR]'
operator=ties space=parameter_groups strategy=cma_es fitness=generation fitness.data=items.jsonl
seed=1 search.evaluations=500 +experiment=NAME. All keys: conf/config.yaml and its groups in
"""

COMMANDS = ("evolve", "resume", "apply", "convert", "evaluate")

TRACEBACK = "HYDRA_FULL_ERROR"
"""Environment variable that brings the traceback of an error back, as in Hydra."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 2 on an error of the user's, with 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    console = Console()
    warnings.showwarning = functools.partial(_show_warning, console)
    command, rest = (given[0], given[1:]) if given else ("--help", [])
    if command not in COMMANDS:
        asked = command in ("-h", "--help", "help")
        print(USAGE + f"{conf_directory()}", file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    traceback = os.environ.get(TRACEBACK)
    os.environ[TRACEBACK] = "1"  # else Hydra exits by itself, with its own message
    try:
        importlib.import_module(f"evojax_merge.commands.{command}").run(rest, console)
    except Interrupted as interrupted:
        console.print(f"[bold]stopped by {interrupted}[/]; everything completed is saved")
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        if traceback:
            raise
        _fail(str(error))
    finally:
        if traceback is None:
            del os.environ[TRACEBACK]


def _show_warning(console: Console, message: Warning | str, *where: Any) -> None:
    console.print(f"[bold red]warning:[/] {escape(str(message))}", soft_wrap=True)


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    print(f"({TRACEBACK}=1 shows where it came from)", file=sys.stderr)
    sys.exit(2)
