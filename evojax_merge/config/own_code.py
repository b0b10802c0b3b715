"""Code of the user's own that a configuration names: how it is found, and whether it changed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.utils import _locate
from hydra.utils import get_object

from evojax_merge.config.explanation import ConfigError
from evojax_merge.config.trust import INCLUDED, TARGET, foreign_factories
from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text, write_text
from evojax_merge.documents.own_code import OwnCode, OwnCodeError, load_own, printed
from evojax_merge.documents.yaml_text import load_yaml

FILE = "own_code.yaml"
"""The file of a run's directory that holds the hashes of the user's own code."""

_OURS = ("evojax_merge.", "evosax.", "optax.")

Hashes = Mapping[str, Mapping[str, str]]
"""How code is named -> the SHA-256 of each file that it is read from, by path."""


def located(target: str, where: str) -> Any:
    """What a ``_target_`` names: a part of this package, or code of the user's own.

    Args:
        target: ``package.module.name``, ``MODULE:NAME`` or ``FILE.py:NAME``.
        where: The key that names it.

    Raises:
        OwnCodeError: There is no such code of the user's own, or it cannot be imported.
        ImportError: There is no such part of this package.
    """
    if target.startswith(_OURS):
        return get_object(target)
    try:
        return load_own(target, where).function
    except OwnCodeError:
        if ":" in target:
            raise
        try:
            return _locate(target)  # as what stands in a class does
        except ImportError:
            pass
        raise


def with_own(config: Any, where: str) -> Any:
    """The plain values of a part of a configuration, with what is the user's own in its place.

    Hydra cannot look that up. A part in which all is of this package stays as it is.

    Args:
        config: The part, as plain values.
        where: The key of the part.

    Raises:
        OwnCodeError: There is no such code, or it cannot be imported.
    """
    if isinstance(config, list):
        return [with_own(part, where) for part in config]
    if not isinstance(config, dict):
        return config
    found = {key: with_own(part, f"{where}.{key}") for key, part in config.items()}
    target = found.get(TARGET)
    if isinstance(target, str) and not target.startswith(_OURS):
        found[TARGET] = located(target, f"{where}.{TARGET}")
    return found


def recipe_name(target: str, where: str) -> str:
    """The name under which a recipe finds an operator of the user's own from anywhere."""
    own = load_own(target, where) if ":" in target else None
    if own is None or own.file is None or ".py:" not in target:
        return target
    return f"{own.file}:{target.rpartition(':')[2]}"


def own_code_of(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The hashes of the user's own code that a configuration names, which is imported for that.

    What is installed as a package is left out.

    Args:
        config: The configuration as plain values, which is trusted.
    """
    found = {}
    for name in foreign_factories(config):
        if name.startswith(f"{INCLUDED}="):
            found[name] = _hashes_below(name.partition("=")[2])
            continue
        own = _own(name)
        if own is not None and own.file is not None and "site-packages" not in own.file.parts:
            found[name] = {printed(file): digest for file, digest in own.files.items()}
    return found


def _hashes_below(directory: str) -> dict[str, str]:
    """The hashes of the tasks of lm-evaluation-harness in a directory, and of their code."""
    files = sorted(Path(directory).expanduser().rglob("*"))
    return {
        printed(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.suffix in (".py", ".yaml") and file.is_file()
    }


def keep_own_code(directory: Path, hashes: Hashes) -> None:
    """Keep hashes in a run's directory, which is made if need be, if there is code of one's own."""
    file = directory / FILE
    if hashes and _kept(file) != hashes:
        text = yaml.safe_dump(dict(hashes), sort_keys=False, allow_unicode=True)
        write_text(file, text)


def check_own_code(directory: Path, hashes: Hashes) -> None:
    """Check that the user's own code is what a run's directory says that it was.

    A directory that says nothing was begun by a version that kept no hashes, or never.

    Raises:
        ConfigError: Something has changed. The message names each file.
    """
    if changes := _changes(_kept(directory / FILE), hashes):
        raise ConfigError(
            f"{directory}: code of your own has changed since the run was begun: "
            f"{'; '.join(changes)}. Results before and after would not compare: restore it, or go "
            "on with it as it is by --force (force=True)"
        )


def _changes(kept: Hashes, hashes: Hashes) -> list[str]:
    changes = []
    for name, before in kept.items():
        now = hashes.get(name, {})
        for file in dict.fromkeys([*before, *now]):
            if file not in now:
                changes.append(f"{file} is read no more")
            elif file not in before:
                changes.append(f"{file} was not read then")
            elif before[file] != now[file]:
                changes.append(f"{file} (sha256 {before[file][:12]} then, {now[file][:12]} now)")
    return list(dict.fromkeys(changes))


def _own(name: str) -> OwnCode | None:
    try:
        return load_own(name, name)
    except OwnCodeError:  # building says what is wrong
        return None


def _kept(file: Path) -> dict[str, dict[str, str]]:
    if not file.exists():
        return {}
    try:
        found = load_yaml(read_text(file))
    except (DocumentError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}; restore it from a copy") from None
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise ConfigError(f"{file}: is no mapping of code to files; restore it from a copy")
    return {
        str(name): {str(path): str(digest) for path, digest in files.items()}
        for name, files in found.items()
    }
