"""A line of JSON for every candidate ever evaluated (``pandas.read_json(path, lines=True)``)."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evojax_merge.evolution.evaluation import Evaluation
from evojax_merge.types import Population


class History:
    """Appends candidates to a file; what a resumed search will do again is taken out first.

    A line holds ``search``, ``generation`` (from 0), ``candidate``, ``fitness`` (null when it was
    not finite), ``genotype`` (null where they are not written), ``items`` (result of every
    item; null where it is not finite or was not measured), ``item_evaluations`` (how many were) and
    ``seconds``; where there are several tasks, ``objectives`` too; where generations met different
    items, ``error``, the standard error of the fitness by their choice.
    """

    def __init__(self, path: Path, genotypes: bool = True):
        self.path = path
        self._genotypes = genotypes

    def rewind(self, search: str, generation: int) -> list[dict[str, Any]]:
        """Drop the lines of a search from ``generation`` on, and a half-written last line.

        Returns:
            The lines of that search that remain.
        """
        if not self.path.exists():
            return []
        kept = [
            row
            for row in read_history(self.path)
            if row["search"] != search or row["generation"] < generation
        ]
        partial = self.path.with_suffix(".tmp")
        lines = [json.dumps(row) + "\n" for row in kept]
        partial.write_text("".join(lines), encoding="utf-8")
        partial.replace(self.path)
        return [row for row in kept if row["search"] == search]

    def append(
        self, search: str, generation: int, population: Population, evaluation: Evaluation
    ) -> None:
        """Write one generation."""
        rows = zip(
            np.asarray(population),
            evaluation.items,
            evaluation.fitness,
            evaluation.seconds,
            evaluation.item_evaluations,
            strict=True,
        )
        further: list[dict[str, Any]] = [{} for _ in evaluation.items]
        if evaluation.parts:
            for row, objectives in zip(further, evaluation.objectives, strict=True):
                row["objectives"] = list(map(_number, objectives))
        if evaluation.error is not None:
            for row, error in zip(further, evaluation.error, strict=True):
                row["error"] = _number(error)
        lines = [
            json.dumps(
                {
                    "search": search,
                    "generation": generation,
                    "candidate": candidate,
                    "fitness": _number(fitness),
                    "genotype": list(map(_number, genotype)) if self._genotypes else None,
                    "items": [_number(item) for item in items],
                    "item_evaluations": int(spent),
                    "seconds": _number(seconds),
                }
                | further[candidate]
            )
            for candidate, (genotype, items, fitness, seconds, spent) in enumerate(rows)
        ]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """The candidates in a file; a line that was cut off by a crash ends it."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                return
            if not line.endswith("\n"):
                return
            yield row


def _number(value: np.floating) -> float | None:
    """The shortest decimal that names the float32; None for what JSON cannot write."""
    return float(str(np.float32(value))) if math.isfinite(value) else None
