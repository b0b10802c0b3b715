"""What a shell offers for KEY=VALUE, from the names of the bundled configuration."""

import re
from collections.abc import Iterator
from pathlib import Path

import typer

from evojax_merge.documents.bundled import conf_directory

_KEY = re.compile(r"^( *)([a-z]\w*):(.*)$")


def complete_override(context: typer.Context, incomplete: str) -> list[str]:
    """The overrides that begin so: keys, and the options of a group after its ``=``.

    Bash takes ``=`` for a word of its own, and asks for the word after it alone.
    """
    before: list[str] = context.params.get("overrides") or []
    if before[-1:] == ["="]:
        return _beginning(incomplete, _options(before[-2]))
    if not incomplete and before and "=" not in before[-1]:  # the word asked for is the =
        return _beginning("", _options(before[-1]))
    group, given, _ = incomplete.partition("=")
    if given:
        return _beginning(incomplete, [f"{group}={one}" for one in _options(group)])
    conf = conf_directory()
    names = (*_groups(conf), *_keys(conf / "config.yaml"))
    return _beginning(incomplete, [f"{name}=" for name in names])


def _beginning(incomplete: str, found: list[str]) -> list[str]:
    return sorted(one for one in dict.fromkeys(found) if one.startswith(incomplete))


def _options(group: str) -> list[str]:
    """The options of a group, none where there is no such group."""
    return [file.stem for file in (conf_directory() / group.lstrip("+")).glob("*.yaml")]


def _groups(conf: Path) -> Iterator[str]:
    for folder in conf.iterdir():
        if any(folder.glob("*.yaml")):
            yield f"+{folder.name}" if folder.name == "experiment" else folder.name


def _keys(file: Path) -> Iterator[str]:
    """The dotted keys of a file in the plain style of ours, which is read without a YAML parser."""
    above: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if found := _KEY.match(line):
            above = [*above[: len(found[1]) // 2], found[2]]
            if found[3].partition("#")[0].strip() and above[0] != "hydra":
                yield ".".join(above)
