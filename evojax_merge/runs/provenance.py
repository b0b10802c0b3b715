"""What a run's numbers come from: versions, machine, data and times, for each session of it.

A run may be interrupted and go on elsewhere, with other versions even.
"""

import contextlib
import datetime
import itertools
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evojax_merge import hosts
from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text, write_text
from evojax_merge.documents.json_text import load_object
from evojax_merge.report.run_files import PROVENANCE_FILE

_SECRET = re.compile(r"(token(?![a-z])|secret|passw|credential|api.?key)", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
_HIDDEN = "…"


@contextlib.contextmanager
def recorded(directory: Path, facts: Mapping[str, Any]) -> Iterator[None]:
    """Keep in a run's directory what the block is worked on with, when it began and how it ended.

    A session without an end was killed, or goes on.

    Of several processes the first one writes.

    Args:
        directory: The directory of the run.
        facts: What else is kept of the session, as plain values.

    Raises:
        OSError: The file cannot be written at the beginning.
    """
    if not hosts.is_first():
        yield
        return
    file = directory / PROVENANCE_FILE
    session = {
        "started": _now(),
        "ended": None,
        "outcome": None,
        "command": shown_command(sys.orig_argv),
        "directory": str(Path.cwd()),
        **facts,
    }
    before = _sessions(file)
    _compare_items(file, before, facts.get("items"))
    _write(file, [*before, session])
    outcome = "finished"
    try:
        yield
    except BaseException as error:
        told = str(error).splitlines()
        outcome = ": ".join([type(error).__name__, *told[:1]])
        raise
    finally:
        ended = {"ended": _now(), "outcome": outcome}
        try:
            _write(file, [*before, session | ended])
        except OSError as error:
            warnings.warn(f"{file}: the end is not kept ({error.strerror})", stacklevel=3)


def _compare_items(file: Path, before: Sequence[Any], items: Any) -> None:
    """Warn if items are other ones than those that the run was begun with, as of a moved branch."""
    known = [one["items"] for one in before if isinstance(one, dict) and "items" in one]
    if not known or not isinstance(known[0], dict) or not isinstance(items, Mapping):
        return
    for split, found in items.items():
        if known[0].get(split, found) != found:
            warnings.warn(
                f"{file.parent}: the {split} items are not those that the run was begun with (by "
                f"the sha256 in {file.name}), so that new results do not compare with earlier "
                "ones; bring the data back, or begin another run",
                stacklevel=5,
            )


def shown_command(words: Sequence[str]) -> list[str]:
    """A command as it was given, without what may be a password or a token."""
    shown = [os.path.basename(words[0])]
    for before, word in itertools.pairwise(words):
        name, _, value = word.partition("=")
        if before.startswith("-") and "=" not in before and _SECRET.search(before):
            shown.append(_HIDDEN)
        elif value and _SECRET.search(name):
            shown.append(f"{name}={_HIDDEN}")
        else:
            shown.append(_IN_URL.sub(f"{_HIDDEN}@", word))
    return shown


def _sessions(file: Path) -> list[Any]:
    """The sessions that a file holds; of a damaged file, none, with a warning."""
    if not file.exists():
        return []
    try:
        found = load_object(read_text(file)).get("sessions")
    except DocumentError as error:
        found = error
    if isinstance(found, list):
        return found
    warnings.warn(
        f"{file}: what it told of earlier sessions cannot be read, and is dropped", stacklevel=4
    )
    return []


def _write(file: Path, sessions: Sequence[Any]) -> None:
    text = json.dumps({"sessions": list(sessions)}, indent=1, ensure_ascii=False) + "\n"
    write_text(file, text)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
