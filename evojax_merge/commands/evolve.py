"""``evojax-merge evolve`` searches for the best merge of some models."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from evojax_merge import api, hosts
from evojax_merge.api.run_directory import without_empty_parents
from evojax_merge.config import (
    check_sweep,
    compose,
    conf_directory,
    continuing,
    expand_overrides,
    foreign_factories,
    plain_of,
)
from evojax_merge.config.sweeping import plan_sweep
from evojax_merge.documents.nearest import nearest
from evojax_merge.documents.terminal import printable, say, show
from evojax_merge.search.interruption import Interrupted
from evojax_merge.sweeps.running import carry_out
from evojax_merge.sweeps.several import connect, lay_out_together

MULTIRUN = "hydra.mode=MULTIRUN"
"""What Hydra takes for ``-m``."""


_FLAGS = ("--cfg", "--resolve", "--package", "--info", "--run", "--hydra-help")
"""The flags of Hydra's that go with a search."""


def run(
    console: Console,
    *,
    words: list[str],
    config_dir: Path | None,
    multirun: bool,
    gpu_each: bool,
    dry_run: bool = False,
) -> None:
    """Run the command.

    Args:
        console: Where the command says what it did.
        words: Overrides, and flags of Hydra's.
        config_dir: A directory of further configuration.
        multirun: Whether values that are separated by commas are swept over.
        gpu_each: Whether each process that runs jobs of a sweep gets a GPU of its own.
        dry_run: Whether to say what the run would take, and to leave nothing.
    """
    overrides = [word for word in words if "=" in word or word.startswith("~")]
    flags = [word for word in words if word not in overrides]
    for before, word in zip(["", *flags], flags, strict=False):  # which Hydra repeats as they are
        if word != printable(word):
            raise ValueError(f"{word}: is no option, and no KEY=VALUE")
        if word.startswith("--") and word not in _FLAGS:
            near = nearest(word, ("--config-dir", "--dry-run", "--gpu-each", "--multirun", *_FLAGS))
            raise ValueError(f"{word}: is no option{near}")
        if not word.startswith("-") and not before.startswith("-"):
            raise ValueError(f"{word}: is no KEY=VALUE")
    if dry_run:
        if flags or multirun or gpu_each or MULTIRUN in overrides:
            raise ValueError("--dry-run: is of one run; leave out -m, --gpu-each and Hydra's flags")
        _try_out(overrides, config_dir, console)
        return
    if multirun or MULTIRUN in overrides:
        if flags:
            raise ValueError(f"{flags[0]}: does not go with -m")
        _sweep(overrides, config_dir, gpu_each, console)
        return
    if gpu_each:
        raise ValueError("--gpu-each: is for the jobs of a sweep; add -m, or leave it out")
    place = Path()
    if not flags:  # a misspelt key is named before Hydra starts
        config = compose(overrides, config_dir)
        place = _directory(overrides, config)
        hosts.start(hosts.DistributedConfig(**config.distributed))
        console.quiet = not hosts.is_first()
        told = {word.partition("=")[0]: word for word in overrides if "hydra.run.dir=" in word}
        hosts.compare("settings", told, "Give all hosts the same directory")
    flags += ["--config-dir", str(config_dir.absolute())] if config_dir else []
    sys.argv = [
        "evojax-merge",
        *flags,
        *expand_overrides(overrides),
    ]  # Hydra wants its flags before any override

    failures: list[Exception] = []

    @hydra.main(config_path=str(conf_directory()), config_name="config", version_base="1.3")
    def job(config: DictConfig) -> None:
        settings = HydraConfig.get()
        if settings.mode == RunMode.MULTIRUN:
            failures.append(ValueError(f"{MULTIRUN}: a file cannot say so; give -m for a sweep"))
            return
        own = Path(settings.runtime.output_dir)
        directory = Path(hosts.agree(str(own)))  # its name holds the second
        if directory != own:  # which Hydra has made
            with contextlib.suppress(OSError):
                own.rmdir()
        chosen = list(settings.overrides.task)
        start = functools.partial(_point_latest, directory.parent, directory.name)
        try:
            with _latest_if_left(directory):
                api.evolve(config, directory, console, overrides=chosen, on_start=start)
        except Interrupted:
            if directory.exists():  # something was begun
                trusted = bool(foreign_factories(plain_of(config)))
                say(console, f"continue with: {continuing(directory, trusted)}")
            raise
        except (ValueError, OSError) as error:  # which Hydra would comment on
            failures.append(error)

    try:
        with without_empty_parents(place):  # which Hydra makes
            job()
    except (HydraException, OmegaConfBaseException) as error:  # of overrides beside its flags
        raise ValueError(str(error)) from error
    if failures:
        raise failures[0]


def _try_out(overrides: list[str], config_dir: Path | None, console: Console) -> None:
    """Say what a run would take, by one candidate that is measured."""
    config = compose(overrides, config_dir)
    trial = api.dry_run(config, console)
    console.quiet = not hosts.is_first()
    for line in trial.lines():
        say(console, line)
    show(console, trial.table())
    say(
        console,
        f"the run would be in {_directory(overrides, config)}; leave out --dry-run to start it",
    )


def _directory(overrides: list[str], config: DictConfig) -> Path:
    """The directory of a run, as far as it is known before Hydra starts."""
    given = [word.partition("=")[2] for word in overrides if word.startswith("hydra.run.dir=")]
    return Path(given[-1] if given else f"runs/{config.name}/DATE_TIME")


def _sweep(overrides: list[str], config_dir: Path | None, gpu_each: bool, console: Console) -> None:
    """Run every combination of the values that are swept over."""
    check_sweep(overrides, config_dir)  # a misspelt key is named by the override that has it
    plan = plan_sweep(overrides, config_dir)
    connect(plan.launcher, hosts.DistributedConfig(**plan.distributed), gpu_each)
    console.quiet = not hosts.is_first()
    with hosts.together():
        sweep = lay_out_together(plan, gpu_each)
        if hosts.is_first():
            _point_latest(sweep.directory.parent, sweep.directory.name)
    carry_out(sweep, console, trust_config=True)


@contextlib.contextmanager
def _latest_if_left(directory: Path) -> Iterator[None]:
    """Have ``latest`` point at what it pointed at before, if no directory is left by the block."""
    link = directory.parent / "latest"
    before = link.readlink() if link.is_symlink() else None
    try:
        yield
    finally:
        gone = hosts.is_first() and not directory.exists()
        if gone and link.is_symlink() and link.readlink() == Path(directory.name):
            link.unlink()
            if before is not None:
                _point_latest(directory.parent, before)


def _point_latest(folder: Path, target: str | Path) -> None:
    """Make the link ``latest`` in the folder of a run, or of a sweep, point at it."""
    link = folder / "latest"
    partial = folder / f".latest-{os.getpid()}"
    try:
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
        partial.replace(link)
    except OSError:  # a file system without links, or a directory of that name: only a convenience
        partial.unlink(missing_ok=True)
