"""``evojax-merge resume`` continues a run or a sweep after any interruption."""

from pathlib import Path

from rich.console import Console

from evojax_merge import api, hosts
from evojax_merge.config import ConfigError, compose, foreign_factories, read_config_file
from evojax_merge.documents.terminal import Parser, announce_imports, printable, say
from evojax_merge.search.interruption import Interrupted

DISTRIBUTED = "distributed."
LAUNCHER = ("hydra/launcher=", "hydra.launcher.")


def run(arguments: list[str], console: Console) -> None:
    """Run the command.

    Args:
        arguments: What follows the name of the command.
        console: Where the command says what it did.
    """
    parser = Parser("evojax-merge resume")
    parser.add_argument("directory", metavar="RUN_DIR|SWEEP_DIR")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="a larger budget, search.evaluations=N, and what else may change; the processes that "
        "go on together, distributed.KEY=VALUE (conf/config.yaml has the keys); of a sweep also "
        "another launcher, hydra/launcher=NAME, or its settings, hydra.launcher.KEY=VALUE",
    )
    parser.add_argument(
        "--gpu-each",
        action="store_true",
        help="of a sweep: give each process that runs jobs a GPU of its own",
    )
    parser.add_argument(
        "--trust-config",
        action="store_true",
        help="import and run what the run's configuration names from outside this package",
    )
    flags_first = sorted(arguments, key=lambda word: not word.startswith("-"))
    options = parser.parse_args(flags_first)
    directory = Path(options.directory)
    given = [one for one in options.overrides if one.startswith(DISTRIBUTED)]
    others = [one for one in options.overrides if not one.startswith(DISTRIBUTED)]
    distributed = hosts.DistributedConfig(**compose(given).distributed)
    if _is_sweep(directory):
        from evojax_merge.sweeps.running import resume_sweep

        resume_sweep(
            directory,
            console,
            overrides=[one for one in others if one.startswith(LAUNCHER)],
            changes=[one for one in others if not one.startswith(LAUNCHER)],
            gpu_each=options.gpu_each,
            trust_config=options.trust_config,
            distributed=distributed,
        )
        return
    if options.gpu_each or (launcher := [one for one in others if one.startswith(LAUNCHER)]):
        what = "--gpu-each" if options.gpu_each else launcher[0]
        raise ValueError(f"{directory}: is no sweep, which {printable(what)} is for; leave it out")
    hosts.start(distributed)
    console.quiet = not hosts.is_first()
    if hosts.is_first() and not (directory / api.CONFIG_FILE).exists():
        error = ConfigError(
            f"{directory}: holds neither a run ({api.CONFIG_FILE}) nor a sweep (sweep.yaml); give "
            "the directory of one"
        )
        with hosts.together():
            raise error
    if options.trust_config:
        config = read_config_file(directory / api.CONFIG_FILE)
        announce_imports(console, foreign_factories(config))
    try:
        api.resume(
            directory,
            console,
            overrides=others,
            trust_config=options.trust_config,
            distributed=distributed,
        )
    except Interrupted:
        say(console, f"continue with: evojax-merge resume {directory}")
        raise


def _is_sweep(directory: Path) -> bool:
    from evojax_merge.sweeps.folder import is_sweep

    return is_sweep(directory)
