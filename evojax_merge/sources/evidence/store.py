"""Evidence on disk: a safetensors file for each source, and beside it what it comes from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from evojax_merge.documents.files import read_text, sha256, write_whole
from evojax_merge.documents.json_text import load_object

FORMAT = 1

FOLDER = "evidence"
"""The folder of a run that keeps what was collected for operators that ask for evidence."""


class EvidenceError(ValueError):
    """Evidence that cannot be collected, or that does not belong to what it is used for."""


def read(file: Path, wanted: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Read the evidence in a file; None if there is none.

    Args:
        file: The file that `write` wrote.
        wanted: What the evidence must have been collected from.

    Raises:
        EvidenceError: The evidence was collected from something else, or is damaged.
    """
    account = file.with_suffix(".json")
    if not account.is_file():  # written last: without it nothing is complete
        return None
    remedy = f"delete {file} and {account.name} to collect it again, or use another run directory"
    try:
        held = load_object(read_text(account))
        if sha256(file) != held.get("values_sha256"):
            raise ValueError("its sha256 is not the one it was written with")
        leaves = load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
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
        file: The file to write.
        leaves: The evidence by leaf path.
        wanted: What the evidence was collected from, which `read` compares.
        notes: Further facts, which are for people alone.
    """
    contiguous = {path: np.ascontiguousarray(leaf) for path, leaf in leaves.items()}
    account = {"format": FORMAT, **wanted, **notes}

    def save(partial: Path) -> None:
        save_file(contiguous, partial)
        account["values_sha256"] = sha256(partial)

    write_whole(file, save)
    text = json.dumps(account, indent=1, ensure_ascii=False) + "\n"
    write_whole(file.with_suffix(".json"), lambda partial: partial.write_text(text, "utf-8"))
