"""Sweeps of seconds, and what of their runs is the same every time."""

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

SMALL = [
    "+experiment=digits_halves",
    "search.evaluations=12",
    "strategy.population_size=4",
    "baselines.random_search=false",
    "baselines.published=false",
    "baselines.sources=false",
]


def evolve(directory: Path | str, *more: str) -> list[str]:
    """The arguments of a small sweep."""
    return ["evolve", "-m", *SMALL, f"hydra.sweep.dir={directory}", *more]


def outcome(run: Path) -> dict[str, Any]:
    """What a run found, to the bit, without how long it took."""
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    results = json.loads((run / "results.json").read_text())
    for row in [*rows, *results]:
        row.pop("seconds")
    export = load_file(run / "export" / "model.safetensors")
    return {
        "history": rows,
        "results": results,
        "recipe": (run / "recipe.yaml").read_bytes(),
        "export": {name: leaf.tobytes() for name, leaf in export.items()},
    }
