"""The result of every item for every method of a run, by which methods and runs are paired."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import read_text
from evojax_merge.documents.json_text import load_object
from evojax_merge.params.types import Float

FILE = "items.json"

Items = Mapping[str, Mapping[str, Float[np.ndarray, " items"]]]
"""Results by split and by method."""


def save_items(items: Items, path: Path) -> None:
    """Write results as JSON, ``{split: {method: [number, …]}}``; what is not finite is null."""
    tree = {
        split: {name: list(map(_number, results)) for name, results in methods.items()}
        for split, methods in items.items()
    }
    path.write_text(json.dumps(tree, ensure_ascii=False) + "\n", encoding="utf-8")


def load_items(path: Path) -> Items:
    """Read what `save_items` wrote; nothing where there is no file, or it is damaged."""
    try:
        tree = load_object(read_text(path))
        return {
            split: {name: np.array(results, np.float64) for name, results in methods.items()}
            for split, methods in tree.items()
        }
    except (DocumentError, OSError, AttributeError, TypeError, ValueError):
        return {}


def _number(value: float) -> float | None:
    """The shortest decimal that names the float32."""
    return float(str(np.float32(value))) if math.isfinite(value) else None
