"""Checkpoints and items that configurations name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints_factory import write_family


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """A tiny base and two tiny fine-tunes of it, with a tokenizer."""
    return write_family(tmp_path_factory.mktemp("models"), max_position_embeddings=96)


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> dict[str, Path]:
    """A few items of each kind of task."""
    folder = tmp_path_factory.mktemp("items")
    rows: dict[str, list[dict[str, Any]]] = {
        "generation": [{"question": f"{n} + 1 = ?", "answer": n + 1} for n in range(3)],
        "multiple_choice": [{"question": "a", "choices": ["b", "cd"], "answer": 0}] * 3,
        "perplexity": [{"text": "some words"}, {"text": "others"}],
    }
    for name, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text)
    rng = np.random.default_rng(0)
    np.savez(
        folder / "classification.npz",
        inputs=rng.normal(size=(9, 64)).astype(np.float32),
        label=np.arange(9),
    )
    return {path.stem: path for path in folder.iterdir()}
