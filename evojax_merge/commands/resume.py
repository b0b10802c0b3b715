"""``evojax-merge resume`` continues a run after any interruption."""

from pathlib import Path

from rich.console import Console

from evojax_merge import api, hosts
from evojax_merge.config import compose, foreign_factories, read_config_file
from evojax_merge.documents.terminal import Parser, announce_imports, printable, say
from evojax_merge.search.interruption import Interrupted


def run(arguments: list[str], console: Console) -> None:
    """Run the command.

    Args:
        arguments: What follows the name of the command.
        console: Where the command says what it did.
    """
    parser = Parser("evojax-merge resume")
    parser.add_argument("directory", metavar="RUN_DIR")
    parser.add_argument(
        "--trust-config",
        action="store_true",
        help="import and run what the run's configuration names from outside this package",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="distributed.KEY=VALUE",
        help="the processes that continue the run together; conf/config.yaml has the keys",
    )
    flags_first = sorted(arguments, key=lambda word: not word.startswith("-"))
    options = parser.parse_args(flags_first)
    for override in options.overrides:
        if not override.startswith("distributed."):
            raise ValueError(
                f"{printable(override)}: a run stays what it was; a resume takes "
                "distributed.KEY=VALUE only"
            )
    distributed = hosts.DistributedConfig(**compose(options.overrides).distributed)
    hosts.start(distributed)
    console.quiet = not hosts.is_first()
    directory = options.directory
    if options.trust_config:
        config = read_config_file(Path(directory) / api.CONFIG_FILE)
        announce_imports(console, foreign_factories(config))
    try:
        api.resume(directory, console, trust_config=options.trust_config, distributed=distributed)
    except Interrupted:
        say(console, f"continue with: evojax-merge resume {directory}")
        raise
