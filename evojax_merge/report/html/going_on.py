"""The commands with which one goes on from a run."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evojax_merge.config import foreign_factories

PROGRAM = "evojax-merge"


class Command(NamedTuple):
    """A command.

    Attributes:
        purpose: What it does.
        text: The command, as a shell takes it.
    """

    purpose: str
    text: str


def place_of(directory: Path, started: str | None) -> str:
    """What commands call a directory: its path from where the run was started, if it is below."""
    whole = directory.absolute()
    if started and whole.is_relative_to(started):
        return str(whole.relative_to(started))
    return str(whole)


def command(*words: str) -> str:
    """A command of this program."""
    return shlex.join([PROGRAM, *words])


def selecting(place: str, choice: str) -> str:
    """The command that builds a member of a front."""
    return f"{command('apply', place, '--select', choice, '--out')} DIR"


def commands(
    place: str,
    *,
    state: str,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    kind: str,
    has_front: bool,
    draws: bool,
    splits: Sequence[str],
) -> list[Command]:
    """The commands that go on from a run.

    Args:
        place: What commands call its directory.
        state: ``finished``, ``running`` or ``stopped``.
        config: Its configuration.
        overrides: What it was asked for.
        kind: The kind of its recipe: ``parameter``, ``dataflow``, ``weights``, or ``""``.
        has_front: Whether there is a front.
        draws: Whether its models draw.
        splits: The splits that it measured, those that were compared first.
    """
    found = []
    trust = ["--trust-config"] if foreign_factories(config) else []
    if state != "finished":
        found.append(Command("continue the run", command("resume", place, *trust)))
    else:
        found.append(Command("build the winner anew, to the bit", _out("apply", place, *trust)))
        if has_front:
            found.append(
                Command("build a member of the front: knee, a number, or weights of tasks",
                        selecting(place, "knee"))
            )  # fmt: skip
        if draws:
            text = f"{command('apply', place, '--images')} PROMPTS.txt"
            found.append(Command("draw prompts of your own, one a line", text))
        found.append(Command("measure the winner again", command("evaluate", place, *trust)))
        for split in splits[1:]:
            found.append(
                Command(f"measure it on the {split} split",
                        command("evaluate", place, "--split", split, *trust))
            )  # fmt: skip
        if kind == "parameter":
            text = f"{command('convert', f'{place}/recipe.yaml', '--out')} MERGED.yml"
            found.append(Command("write the recipe as a YAML of mergekit", text))
        found.append(
            Command("upload the merge, with its model card, to the Hugging Face hub",
                    f"{command('push', place)} OWNER/NAME")
        )  # fmt: skip
        if isinstance(budget := _budget(config), int):
            text = command("resume", place, f"search.evaluations={2 * budget}", *trust)
            found.append(Command("search on with twice the budget", text))
    found.append(Command("make this page again", command("report", place)))
    if overrides:
        found += _anew(config, overrides)
    return found


def _out(word: str, place: str, *flags: str) -> str:
    return f"{command(word, place, *flags, '--out')} DIR"


def _anew(config: Mapping[str, Any], overrides: Sequence[str]) -> list[Command]:
    """Searches like this one, from the beginning."""
    seed = config.get("seed")
    if not isinstance(seed, int):
        return []
    words = _with(overrides, "seed", ",".join(str(seed + more) for more in range(1, 4)))
    text = command("evolve", "-m", *words)
    return [Command("search with three more seeds, as a sweep", text)]


def _budget(config: Mapping[str, Any]) -> Any:
    search = config.get("search")
    return search.get("evaluations") if isinstance(search, Mapping) else None


def _with(overrides: Sequence[str], key: str, value: str) -> list[str]:
    own = [one for one in overrides if not re.match(rf"\+*{re.escape(key)}=", one)]
    kept = [one for one in own if not one.startswith("hydra.run.dir=")]
    return [*kept, f"{key}={value}"]
