"""``evojax-merge plan`` says whether a search fits on a machine, and how long it takes at least.

Its programs are compiled from shapes alone. Neither the machine nor the weights need be there.
"""

import json
import os
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
from evojax_merge.documents.terminal import say

if TYPE_CHECKING:
    from evojax_merge.planning.plan import Plan


def run(
    console: Console,
    *,
    overrides: list[str],
    topology: str,
    config_dir: Path | None,
    json_file: Path | None,
    items: int,
    prompt_tokens: int,
    answer_tokens: int | None,
) -> None:
    """Run the command.

    Args:
        console: Where the command says what it did.
        overrides: What ``evolve`` would be given.
        topology: The name of the machine.
        config_dir: A directory of further configuration.
        json_file: A file that the plan is written to, too.
        items: How many items are assumed where there is no data.
        prompt_tokens: How long their prompts are assumed to be.
        answer_tokens: How long answers are; by default, as long as they may be.
    """
    if json_file is not None:
        _check_file(json_file)
    machine = parse(topology)
    check_installed(machine)
    set_environment(machine)  # before JAX starts
    found = make_plan(
        machine,
        overrides,
        console,
        config_dir=config_dir,
        items=items,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
    )
    from evojax_merge.planning.table import document, show

    show(found, console)
    if json_file is not None:
        text = json.dumps(document(found), indent=1, ensure_ascii=False) + "\n"
        json_file.write_text(text, encoding="utf-8")
        say(console, f"written to {json_file}")


def make_plan(
    topology: Topology,
    overrides: Sequence[str],
    console: Console,
    *,
    config_dir: Path | None = None,
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


def _check_file(path: Path) -> None:
    """Check that a file can be written, before anything is compiled."""
    if path.is_dir():
        raise ValueError(f"--json {path}: is a directory; give a file")
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"--json {path}: {folder} is no directory that can be written; make it")
