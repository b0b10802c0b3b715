"""``evojax-merge plan`` says whether a search fits on a machine, and how long it takes at least.

Its programs are compiled from shapes alone. Neither the machine nor the weights need be there.
"""

import json
import os
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from evojax_merge.costs.topologies import (
    LOCAL,
    Topology,
    check_installed,
    devices_of,
    parse,
    set_environment,
)
from evojax_merge.documents.terminal import Parser, say

if TYPE_CHECKING:
    from evojax_merge.planning.plan import Plan


def run(arguments: list[str], console: Console) -> None:
    """Run the command.

    Args:
        arguments: What follows the name of the command.
        console: Where the command says what it did.
    """
    parser = Parser("evojax-merge plan", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--topology",
        default=LOCAL,
        help="local, or a machine that need not be there: v5e:4x4, v6e:2x2, v5p:2x2x4, h100:8, "
        "tpu7x:2x2x1, h200:1, a100:8, b200:8",
    )
    parser.add_argument("--config-dir", "-cd", help="a directory with configurations of your own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plan there, too")
    parser.add_argument(
        "--items", type=_whole, default=128, help="how many items are assumed without fitness.data"
    )
    parser.add_argument(
        "--prompt-tokens",
        type=_whole,
        default=256,
        help="how long prompts are assumed to be without data or a tokenizer",
    )
    parser.add_argument(
        "--answer-tokens",
        type=_whole,
        default=None,
        help="how long answers are; by default, as long as they may be",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for evolve")
    options = parser.parse_args(arguments)
    if options.json is not None:
        _check_file(options.json)
    topology = parse(options.topology)
    check_installed(topology)
    set_environment(topology)  # before JAX starts
    found = make_plan(
        topology,
        options.overrides,
        console,
        config_dir=options.config_dir,
        items=options.items,
        prompt_tokens=options.prompt_tokens,
        answer_tokens=options.answer_tokens,
    )
    from evojax_merge.planning.table import document, show

    show(found, console)
    if options.json is not None:
        text = json.dumps(document(found), indent=1, ensure_ascii=False) + "\n"
        options.json.write_text(text, encoding="utf-8")
        say(console, f"written to {options.json}")


def make_plan(
    topology: Topology,
    overrides: Sequence[str],
    console: Console,
    *,
    config_dir: str | None = None,
    items: int = 128,
    prompt_tokens: int = 256,
    answer_tokens: int | None = None,
) -> "Plan":
    """Plan the searches of a configuration on a machine.

    Args:
        topology: The machine, for which the environment is set.
        overrides: What ``evolve`` would be given.
        console: Where progress is shown.
        config_dir: A directory of further configuration.
        items: How many items are assumed where there is no data.
        prompt_tokens: How long their prompts are assumed to be.
        answer_tokens: How long answers are; by default, as long as they may be.

    Raises:
        ValueError: Something makes the search impossible.
    """
    import jax

    from evojax_merge.config import build, compose
    from evojax_merge.costs.devices import figures_of
    from evojax_merge.planning.assumed import Assumption, task_of
    from evojax_merge.planning.plan import plan

    described = topology.platform != LOCAL
    if described:
        jax.config.update("jax_platforms", "cpu")
    devices = devices_of(topology)
    figures = figures_of(devices[0], described)
    if figures is None:
        raise ValueError(
            f"--topology {topology.name}: nothing is known of the memory and the speed of "
            f"{devices[0].device_kind}; plan for another device"
        )
    config = compose(list(overrides), config_dir)
    notes: list[str] = []
    task = task_of(config, Assumption(items, prompt_tokens), notes)
    experiment = build(config, task, described=True)
    kept = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    jax.config.update(
        "jax_enable_compilation_cache", False
    )  # programs of machines that are not here
    try:
        return plan(
            experiment,
            topology.name,
            devices,
            figures,
            answer_tokens=answer_tokens,
            notes=notes,
            tell=lambda line: say(console, line),
        )
    finally:
        jax.config.update("jax_enable_compilation_cache", kept)


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _check_file(path: Path) -> None:
    """Check that a file can be written, before anything is compiled."""
    if path.is_dir():
        raise ValueError(f"--json {path}: is a directory; give a file")
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"--json {path}: {folder} is no directory that can be written; make it")
