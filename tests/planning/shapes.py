"""Directories that hold configurations alone."""

import json
from pathlib import Path
from typing import Any

from tests.checkpoints_factory import tiny_config


def write_configs(directory: Path, names: str = "abc", **changes: Any) -> list[str]:
    """Write a tiny decoder's ``config.json`` for each letter; the first is the base."""
    config = tiny_config("llama", **{"torch_dtype": "bfloat16", "num_hidden_layers": 1, **changes})
    for name in names:
        (directory / name).mkdir(parents=True)
        (directory / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    base, *sources = (str(directory / name) for name in names)
    return [f"model.base={base}", f"model.sources=[{','.join(sources)}]"]
