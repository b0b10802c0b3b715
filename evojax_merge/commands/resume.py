"""``evojax-merge resume`` continues a run or a sweep after any interruption."""

from pathlib import Path

from rich.console import Console

from evojax_merge import api, hosts
from evojax_merge.config import (
    ConfigError,
    compose,
    continuing,
    foreign_factories,
    read_config_file,
)
from evojax_merge.documents.terminal import announce_imports, printable, say
from evojax_merge.report.run_files import CONFIG_FILE, neither
from evojax_merge.search.interruption import Interrupted

DISTRIBUTED = "distributed."
LAUNCHER = ("hydra/launcher=", "hydra.launcher.")


def run(
    console: Console,
    *,
    directory: Path,
    overrides: list[str],
    gpu_each: bool,
    trust_config: bool,
    force: bool,
) -> None:
    """Run the command.

    Args:
        console: Where the command says what it did.
        directory: The directory of a run or of a sweep.
        overrides: What changes, the budget above all; the processes that go on together; of a sweep
            also its launcher.
        gpu_each: Whether each process that runs jobs of a sweep gets a GPU of its own.
        trust_config: Whether what the configuration names from outside this package may be run.
        force: Whether code of the user's own may have changed since.
    """
    given = [one for one in overrides if one.startswith(DISTRIBUTED)]
    others = [one for one in overrides if not one.startswith(DISTRIBUTED)]
    distributed = hosts.DistributedConfig(**compose(given).distributed)
    if _is_sweep(directory):
        from evojax_merge.sweeps.running import resume_sweep

        resume_sweep(
            directory,
            console,
            overrides=[one for one in others if one.startswith(LAUNCHER)],
            changes=[one for one in others if not one.startswith(LAUNCHER)],
            gpu_each=gpu_each,
            trust_config=trust_config,
            force=force,
            distributed=distributed,
        )
        return
    launcher = [one for one in others if one.startswith(LAUNCHER)]
    if gpu_each or launcher:
        what = "--gpu-each" if gpu_each else launcher[0]
        raise ValueError(f"{directory}: is no sweep, which {printable(what)} is for; leave it out")
    hosts.start(distributed)
    console.quiet = not hosts.is_first()
    if hosts.is_first() and not (directory / CONFIG_FILE).exists():
        with hosts.together():
            raise ConfigError(neither(directory))
    if trust_config:
        config = read_config_file(directory / CONFIG_FILE)
        announce_imports(console, foreign_factories(config))
    try:
        api.resume(
            directory,
            console,
            overrides=others,
            trust_config=trust_config,
            force=force,
            distributed=distributed,
        )
    except Interrupted:
        say(console, f"continue with: {continuing(directory, trust_config)}")
        raise


def _is_sweep(directory: Path) -> bool:
    from evojax_merge.sweeps.folder import is_sweep

    return is_sweep(directory)
