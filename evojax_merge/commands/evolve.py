"""``evojax-merge evolve`` searches for the best merge of some models."""

import contextlib
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from evojax_merge import api, hosts
from evojax_merge.config import check_sweep, compose, conf_directory, expand_overrides
from evojax_merge.documents.terminal import Parser, printable, say
from evojax_merge.report.sweep import ERROR_FILE
from evojax_merge.search.interruption import Interrupted
from evojax_merge.search.lock import LockedError


def run(arguments: list[str], console: Console) -> None:
    """Run the command.

    Args:
        arguments: What follows the name of the command.
        console: Where the command says what it did.
    """
    parser = Parser("evojax-merge evolve", add_help=False)
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--multirun", "-m", action="store_true")
    known, rest = parser.parse_known_args(arguments)
    overrides = [word for word in rest if "=" in word or word.startswith("~")]
    flags = [word for word in rest if word not in overrides]
    for word in flags:  # Hydra repeats those that it does not know, as they are
        if word != printable(word):
            raise ValueError(f"{word}: is no option, and no KEY=VALUE")
    if not flags:  # a misspelt key is named before Hydra starts
        if known.multirun:
            check_sweep(overrides, known.config_dir)
        _connect(overrides, known.config_dir, known.multirun, console)
    flags += ["--multirun"] * known.multirun
    flags += ["--config-dir", str(Path(known.config_dir).absolute())] if known.config_dir else []
    sys.argv = [
        "evojax-merge",
        *flags,
        *expand_overrides(overrides),
    ]  # Hydra wants its flags before any override
    failures: list[Exception] = []

    @hydra.main(config_path=str(conf_directory()), config_name="config", version_base="1.3")
    def job(config: DictConfig) -> None:
        settings = HydraConfig.get()
        own = Path(settings.runtime.output_dir)
        directory = Path(hosts.agree(str(own)))  # its name holds the second
        if directory != own:  # which Hydra has made
            with contextlib.suppress(OSError):
                own.rmdir()
        chosen = list(settings.overrides.task)
        swept = settings.mode == RunMode.MULTIRUN

        def start() -> None:
            _point_latest(directory.parent if swept else directory)

        try:
            api.evolve(config, directory, console, overrides=chosen, on_start=start)
        except Interrupted:
            if directory.exists():  # something was begun
                say(console, f"continue with: evojax-merge resume {directory}")
            raise
        except (ValueError, OSError) as error:  # one job of a sweep that fails does not end it
            failures.append(error)
            if swept and hosts.active():  # but where the others wait for this process
                raise
            if swept and not isinstance(error, LockedError):
                api.keep_overrides(directory, chosen)
                (directory / ERROR_FILE).write_text(f"{error}\n", encoding="utf-8")
                say(console, f"{' '.join(chosen)}\n{error}", label="failed:")
            return
        say(console, f"everything is in {directory}")

    try:
        job()
    except (HydraException, OmegaConfBaseException) as error:  # of overrides beside its flags
        raise ValueError(str(error)) from error
    if failures:
        raise failures[0]


def _connect(overrides: list[str], config_dir: str | None, swept: bool, console: Console) -> None:
    """Connect with the other processes, of which the first one alone speaks."""
    if swept:  # all of its jobs are carried out by the same processes
        overrides = [override for override in overrides if override.startswith("distributed.")]
    hosts.start(hosts.DistributedConfig(**compose(overrides, config_dir).distributed))
    console.quiet = not hosts.is_first()


def _point_latest(target: Path) -> None:
    """Make ``latest`` beside a run, or beside the folder of a sweep, point at it."""
    link = target.parent / "latest"
    partial = target.parent / f".latest-{os.getpid()}"
    try:
        partial.unlink(missing_ok=True)
        partial.symlink_to(target.name)
        partial.replace(link)
    except OSError:  # a file system without links, or a directory of that name: only a convenience
        partial.unlink(missing_ok=True)
