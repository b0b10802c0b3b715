"""What scores the generations of a search, by a rule of what is measured and a memory."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from evojax_merge.fitness.several import Part
from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.params.types import Float, Int, Population
from evojax_merge.savers.base import Rule
from evojax_merge.savers.score_memory import Memory

MeasureItems = Callable[[Float[np.ndarray, "pop dims"], Int[np.ndarray, " rows"]], Evaluation]


def _as_different(genotypes: Float[np.ndarray, "pop dims"]) -> list[bytes]:
    return [b"%d" % place for place in range(len(genotypes))]


class Scorer:
    """A callable that scores the population of the next generation, as a search needs it.

    Args:
        rule: The rule that says what is measured.
        measure: The function that measures genotypes on items.
        items: The number of items.
        parts: The items of each task, where there are several tasks.
        memory: What is known; without it, everything is measured as often as it is asked for.
        before: How many items were measured before the first generation, and the seconds that took;
            they are counted with its first candidate.
    """

    def __init__(
        self,
        rule: Rule,
        measure: MeasureItems,
        items: int,
        parts: tuple[Part, ...] = (),
        memory: Memory | None = None,
        before: tuple[int, float] = (0, 0.0),
    ) -> None:
        self._rule, self._measure, self._memory = rule, measure, memory
        self._items, self._parts = items, parts
        self._generation = 0
        self._before = before

    def __call__(self, population: Population) -> Evaluation:
        """The results of a generation, which depend on its number and on those before."""
        genotypes = np.asarray(population, np.float32)
        count = len(genotypes)
        memory = self._memory or Memory(_as_different, self._items)
        keys = memory.keys(genotypes)
        spent, seconds = np.zeros(count, np.int64), np.zeros(count, np.float32)

        def measure(
            candidates: Int[np.ndarray, " chosen"], rows: Int[np.ndarray, " rows"]
        ) -> Float[np.ndarray, "chosen rows"]:
            wanted: dict[bytes, tuple[np.ndarray, list[int]]] = {}
            asked: set[bytes] = set()
            for candidate in candidates:
                missing = memory.missing(keys[candidate], rows)
                if not len(missing) or keys[candidate] in asked:
                    continue
                asked.add(keys[candidate])
                wanted.setdefault(missing.tobytes(), (missing, []))[1].append(int(candidate))
            for missing, group in wanted.values():
                found = self._measure(genotypes[group], missing)
                spent[group] += len(missing)
                seconds[group] += found.seconds
                for candidate, results in zip(group, found.items, strict=True):
                    memory.keep(keys[candidate], missing, results)
            return np.stack([memory.recall(keys[candidate], rows) for candidate in candidates])

        began = time.perf_counter()
        items, fitness, error = self._rule(self._generation, count, measure)
        seconds += max(0.0, time.perf_counter() - began - float(seconds.sum())) / count
        if self._generation == 0:
            spent[0] += self._before[0]
            seconds[0] += self._before[1]
        estimate = None if fitness is None else fitness[:, None]
        evaluation = Evaluation(items, seconds, self._parts, estimate, spent, error)
        self._rule.learn(self._generation, items, evaluation.fitness)
        self._generation += 1
        return evaluation

    def resume(self, rows: Iterable[Mapping[str, Any]], completed: int) -> None:
        """Learn what a search that goes on had learned.

        Args:
            rows: The rows of its history.
            completed: The number of generations that were completed.
        """
        self._generation = completed
        generations: dict[int, list[Mapping[str, Any]]] = {}
        for row in rows:
            generations.setdefault(row["generation"], []).append(row)
        every = np.arange(self._items)
        for generation, members in sorted(generations.items()):
            items = np.array([row["items"] for row in members], np.float32)
            fitness = np.array([row["fitness"] for row in members], np.float32)
            self._rule.learn(generation, items, fitness)
            if self._memory is not None:
                genotypes = np.array([row["genotype"] for row in members], np.float32)
                for key, results in zip(self._memory.keys(genotypes), items, strict=True):
                    known = every[np.isfinite(results)]
                    if len(self._memory.missing(key, known)):
                        self._memory.keep(key, known, results[known])
