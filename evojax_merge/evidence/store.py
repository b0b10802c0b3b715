"""Evidence on disk: a safetensors file for each source, and beside it what it comes from."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

FORMAT = 1


class EvidenceError(ValueError):
    """Evidence that cannot be collected, or that does not belong to what it is used for."""


def read(file: Path, wanted: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """The evidence in a file, None if there is none.

    Args:
        file: Where `write` put it.
        wanted: What it must have been collected from.

    Raises:
        EvidenceError: It was collected from something else, or is damaged.
    """
    account = file.with_suffix(".json")
    if not account.is_file():  # written last: without it nothing is complete
        return None
    remedy = f"delete {file} and {account.name} to collect it again, or use another run directory"
    try:
        held = json.loads(account.read_text(encoding="utf-8"))
        values_sha256 = held["values_sha256"]
        if _hash(file) != values_sha256:
            raise ValueError("its sha256 is not the one it was written with")
        leaves = load_file(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"{file}: damaged ({error}); {remedy}") from error
    other = [
        f"{name} is {held.get(name)!r}, not {value!r}"
        for name, value in {"format": FORMAT, **wanted}.items()
        if held.get(name) != value
    ]
    if other:
        raise EvidenceError(
            f"{file}: was collected from something else: {'; '.join(other)}; {remedy}"
        )
    return leaves


def write(
    file: Path, leaves: dict[str, np.ndarray], wanted: dict[str, Any], notes: dict[str, Any]
) -> None:
    """Write evidence whole or not at all.

    Args:
        file: Where to.
        leaves: By path.
        wanted: What `read` compares.
        notes: For people.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    save_file({path: np.ascontiguousarray(leaf) for path, leaf in leaves.items()}, partial)
    account = {"format": FORMAT, **wanted, **notes, "values_sha256": _hash(partial)}
    partial.replace(file)
    partial.write_text(json.dumps(account, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(file.with_suffix(".json"))


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
