"""Data sets of the Hugging Face hub, of which files are read and no code is run.

A split is named ``hub:owner/name/config/split``, ``hub:owner/name/split`` where the data set has
one configuration, or ``hub:owner/name/path/of/a/file.jsonl``. ``@`` and a branch, tag or commit may
follow. The files of a split are those that the data set's card names, or those of the usual names
where it names none.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.documents.errors import DocumentError, shown
from evojax_merge.documents.files import read_text
from evojax_merge.documents.nearest import nearest
from evojax_merge.documents.yaml_text import load_yaml
from evojax_merge.fitness.data import DataError

HUB = "hub:"
"""What the names of data sets of the hub begin with."""

_ENDS = ("parquet", "jsonl", "json", "csv", "tsv")
_NAME = re.compile(r"[\w-][\w.-]*")
_CARD = "README.md"
_FRONT = re.compile(r"---[ \t]*\n(.*?)\n---[ \t]*(?:\n|$)", re.DOTALL)
_DEFAULT = "default"


class Named(NamedTuple):
    """What a name of a data set says.

    Attributes:
        source: The name as it is written.
        repository: The repository, ``owner/name``.
        path: What is wanted of it: a split, a configuration and a split, or a file.
        revision: A branch, tag or commit, if one is given.
    """

    source: str
    repository: str
    path: tuple[str, ...]
    revision: str | None

    @classmethod
    def of(cls, source: str) -> "Named":
        """Read a name.

        Raises:
            DataError: It is none.
        """
        name, at, revision = source.removeprefix(HUB).partition("@")
        parts = tuple(name.split("/"))
        sound = len(parts) > 2 and all(map(_NAME.fullmatch, parts[:2]))
        sound = sound and not {"", ".", ".."} & {*parts} and bool(revision) == bool(at)
        if not sound or not name.isprintable() or set(name) & set("*?[\\"):
            raise DataError(
                f"{shown(source, 200)}: is no data set; write {HUB}owner/name/split, "
                f"{HUB}owner/name/config/split or {HUB}owner/name/FILE, and perhaps @revision"
            )
        return cls(source, "/".join(parts[:2]), parts[2:], revision or None)

    @property
    def is_file(self) -> bool:
        """Whether a file is named."""
        return PurePosixPath(self.path[-1]).suffix.lower().removeprefix(".") in _ENDS


def hub_files(source: str) -> list[Path]:
    """Find the files of a split of a data set, downloaded where they are not there yet.

    Args:
        source: The name of the split.

    Returns:
        The files in the order of their names, of each pattern of the card after the other.

    Raises:
        DataError: The hub does not give them, or there are none.
    """
    named = Named.of(source)
    if named.is_file:
        return _matching(named, named.revision, [["/".join(named.path)]])
    snapshot = _fetched(named, named.revision, [_CARD])
    known = card_splits(_card(snapshot / _CARD, source))
    patterns = [_patterns(named, known)] if known else _usual(named.path)
    # The commit, and not the branch, which may move on between the card and the files.
    return _matching(named, snapshot.name, patterns)


def card_splits(card: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """The patterns of the files that a data set's card names, by configuration and split.

    Args:
        card: The card's front matter. Of its ``configs`` those are left out that make no sense.
    """
    found: dict[str, dict[str, list[str]]] = {}
    configs = card.get("configs")
    for config in configs if isinstance(configs, list) else []:
        if not isinstance(config, dict) or not isinstance(config.get("config_name"), str):
            continue
        files = config.get("data_files")
        if isinstance(files, str) or (
            isinstance(files, list) and all(isinstance(one, str) for one in files)
        ):
            files = [{"split": "train", "path": files}]
        folder = config.get("data_dir")
        splits: dict[str, list[str]] = {}
        for entry in files if isinstance(files, list) else []:
            split, paths = (
                (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else (None, None)
            )
            paths = [paths] if isinstance(paths, str) else paths
            if isinstance(split, str) and isinstance(paths, list):
                within = f"{folder}/" if isinstance(folder, str) and folder != "." else ""
                wanted = [within + one for one in paths if isinstance(one, str)]
                splits.setdefault(split, []).extend(wanted)
        name = _DEFAULT if config.get("default") is True else config["config_name"]
        if splits:
            found[config["config_name"]] = splits
            found.setdefault(name, splits)
    return found


def _patterns(named: Named, known: Mapping[str, Mapping[str, list[str]]]) -> list[str]:
    """The patterns of the files of a split, by the card."""
    listed = ", ".join(
        f"{HUB}{named.repository}/{config}/{split}"
        for config, splits in known.items()
        for split in splits
        if len(known) == 1 or config != _DEFAULT
    )
    if len(named.path) > 2:
        raise DataError(f"{named.source}: no such split; there are {shown(listed, 500)}")
    *configs, split = named.path
    if configs:
        config = configs[0]
    elif len(known) == 1:
        config = next(iter(known))
    else:
        config = _DEFAULT
    if config not in known or split not in known[config]:
        near = nearest(config, known) if config not in known else nearest(split, known[config])
        raise DataError(f"{named.source}: no such split; there are {shown(listed, 500)}{near}")
    return known[config][split]


def _usual(path: Sequence[str]) -> list[list[str]]:
    """The usual names of the files of a split, where the card names none; the first are taken."""
    *folders, split = path
    within = "".join(f"{folder}/" for folder in folders)
    stems = [f"{within}{split}", f"{within}{split}-*", f"{within}{split}/*"]
    stems += [f"data/{stem}" for stem in stems]
    return [[f"{stem}.{end}"] for stem in stems for end in _ENDS]


def _matching(
    named: Named, revision: str | None, alternatives: Sequence[Sequence[str]]
) -> list[Path]:
    """The files of a data set that match the first patterns of which some file does."""
    patterns = [one for several in alternatives for one in several]
    for pattern in patterns:
        if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
            raise DataError(f"{named.source}: the card names {shown(pattern)}, outside of it")
    snapshot = _fetched(named, revision, patterns)
    found: list[Path] = []
    for several in alternatives:
        for pattern in several:
            every = sorted(one for one in snapshot.glob(pattern) if one.is_file())
            found += [one for one in every if one not in found]
        if found:
            break
    blobs = snapshot.parent.parent / "blobs"
    for file in found:
        real = file.resolve()
        if not (real.is_relative_to(snapshot.resolve()) or real.is_relative_to(blobs.resolve())):
            raise DataError(f"{file}: leads out of the data set, to {real}; fetch it again")
    if not found:
        shortened = ", ".join(patterns[:3]) + (", …" if len(patterns) > 3 else "")
        raise DataError(
            f"{named.source}: the data set has no files {shown(shortened, 300)}; name a file, as "
            f"{HUB}{named.repository}/data/test.jsonl. Scripts of data sets are never run"
        )
    return found


def _fetched(named: Named, revision: str | None, patterns: Sequence[str]) -> Path:
    from evojax_merge.checkpoints.hub import fetch

    try:
        return fetch(named.repository, revision, patterns, "dataset")
    except CheckpointError as error:
        reason = str(error).partition(": ")[2]
        raise DataError(f"{named.source}: {reason}") from error


def _card(path: Path, source: str) -> Mapping[str, Any]:
    """The front matter of a card; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        front = _FRONT.match(read_text(path).replace("\r\n", "\n").removeprefix("\ufeff"))
        value = load_yaml(front[1]) if front else {}
    except (DocumentError, yaml.YAMLError) as error:
        raise DataError(f"{source}: the data set's card {_CARD}: {error}") from None
    return value if isinstance(value, dict) else {}
