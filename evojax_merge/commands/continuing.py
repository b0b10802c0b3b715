"""What an interrupted run is continued with."""

from pathlib import Path

from rich.console import Console

from evojax_merge import api
from evojax_merge.config import ConfigError, foreign_factories, read_config_file
from evojax_merge.documents.terminal import say


def say_how_to_go_on(console: Console, directory: Path) -> None:
    """Say the command, with the option that a run of the user's own code needs then."""
    try:
        foreign = foreign_factories(read_config_file(directory / api.CONFIG_FILE))
    except (ConfigError, OSError):  # stopped before it was written
        foreign = []
    trust = " --trust-config" if foreign else ""
    say(console, f"continue with: evojax-merge resume {directory}{trust}")
