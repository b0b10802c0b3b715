"""``evojax-merge resume``: continue a run after any interruption."""

import argparse

from rich.console import Console

from evojax_merge import api
from evojax_merge.evolution.interruption import Interrupted


def run(arguments: list[str], console: Console) -> None:
    """Run the command.

    Args:
        arguments: What follows its name.
        console: Where it says what it did.
    """
    parser = argparse.ArgumentParser("evojax-merge resume")
    parser.add_argument("directory", metavar="RUN_DIR")
    directory = parser.parse_args(arguments).directory
    try:
        api.resume(directory, console)
    except Interrupted:
        console.print(f"continue with: evojax-merge resume {directory}", soft_wrap=True)
        raise
