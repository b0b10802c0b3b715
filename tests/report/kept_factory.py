"""Directories of runs as searches leave them, without any search."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from evojax_merge.fitness.base import ACCURACY, Measure
from evojax_merge.models.segments import Segment
from evojax_merge.recipes.coefficients import Ingredient, Recipe
from evojax_merge.recipes.path import Hop, PathRecipe
from evojax_merge.report.examples import Answer, Example, Examples
from evojax_merge.report.front import Front, Member
from evojax_merge.report.results import Result, TaskScore, save_results
from evojax_merge.report.searches import Search, Searches

SOURCES = ("math", "japanese")
METHODS = ("base", *SOURCES, "average", "evolved")


def leave_run(
    directory: Path,
    *,
    generations: int = 6,
    population: int = 4,
    tasks: Sequence[str] = (),
    members: int = 0,
    answer: str = "18 - 7 = 11",
    sources: Sequence[str] = SOURCES,
    finished: bool = True,
) -> Path:
    """Write what a run leaves.

    Args:
        directory: Where.
        generations: How many generations there were.
        population: How many candidates each of them had.
        tasks: The names of several tasks; none for a single one.
        members: How many members the front has.
        answer: What every method says.
        sources: The names of the sources.
        finished: Whether the run has results.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    config = {
        "name": "small",
        "seed": 3,
        "model": {"base": "models/base", "sources": [f"models/{one}" for one in sources],
                  "names": list(sources)},
        "operator": {"_target_": "evojax_merge.operators.ties", "normalize": True},
        "space": {"_target_": "evojax_merge.spaces.ParameterSpace"},
        "search": {"evaluations": generations * population},
        "working_directory": str(directory.parent),
    }  # fmt: skip
    write_yaml(directory / "config.yaml", config)
    write_yaml(directory / "overrides.yaml", ["operator=ties", "seed=3"])
    measure = ACCURACY
    if tasks:
        measure = Measure(" + ".join(f"{1 / len(tasks):.3g} × {t}" for t in tasks), "fraction")
    Searches(
        "small",
        measure,
        dict.fromkeys(tasks, ACCURACY),
        dict.fromkeys(tasks, 1 / max(1, len(tasks))),
        {split: dict.fromkeys(tasks or [""], 40) for split in ("search", "test")},
        {"evolved": Search("4 genes", 4, "CMA_ES", population, generations * population, measure)},
    ).save(directory)
    with (directory / "history.jsonl").open("w") as file:
        for generation in range(generations):
            for candidate in range(population):
                part = rng.uniform(0.2, 0.4 + 0.5 * generation / generations, max(1, len(tasks)))
                row = {
                    "search": "evolved", "generation": generation, "candidate": candidate,
                    "fitness": float(part.mean()), "genotype": [0.5] * 4, "items": [1.0],
                    "item_evaluations": 40, "seconds": 0.5,
                }  # fmt: skip
                if tasks:
                    row["objectives"] = part.tolist()
                file.write(json.dumps(row) + "\n")
    if not finished:
        return directory
    ingredients = tuple(Ingredient(f"models/{one}", "ab" * 32) for one in sources)
    Recipe(
        operator="evojax_merge.operators.ties",
        arguments={},
        base=Ingredient("models/base", "cd" * 32),
        sources=ingredients,
        segments=tuple(Segment(f"part{n}", ("mlp",), n, n + 1) for n in range(3)),
        coefficients={"weight": np.linspace(-0.4, 1.2, len(sources) * 3, dtype=np.float32)
                      .reshape(len(sources), 3)},
        dtype="float32",
        notes={"source_names": list(sources)},
    ).save(directory / "recipe.yaml")  # fmt: skip
    methods = ("base", *sources, "average", "evolved")
    results = [result(name, 0.2 + 0.1 * n, tasks, measure) for n, name in enumerate(methods)]
    results.append(result("evolved", 0.7, tasks, measure, split="search"))
    if members:
        results += leave_front(directory, members, tasks, measure)
    save_results(results, directory / "results.json")
    leave_examples(directory, methods, answer)
    return directory


def result(
    name: str, score: float, tasks: Sequence[str], measure: Measure, split: str = "test"
) -> Result:
    own = {t: TaskScore(ACCURACY, 1 / len(tasks), score, score - 0.1, score + 0.1, 40)
           for t in tasks}  # fmt: skip
    spent = (24, 12.0, 960) if name.startswith(("evolved", "front")) else (0, 0.0, 0)
    return Result(
        name, split, score, score - 0.1, score + 0.1, 40, *spent, measure, split == "search", own
    )


def leave_front(
    directory: Path, members: int, tasks: Sequence[str], measure: Measure
) -> list[Result]:
    rng = np.random.default_rng(1)
    points = rng.dirichlet(np.ones(len(tasks)), members)
    written = tuple(
        Member(
            f"front/{n}.yaml",
            {s: dict(zip(tasks, map(float, one), strict=True)) for s in ("search", "test")},
        )
        for n, one in enumerate(points)
    )
    Front("search", tuple(tasks), written, (ACCURACY,) * len(tasks)).save(directory)
    return [result(f"front {n}", float(one.mean()), tasks, measure) for n, one in enumerate(points)]


def leave_examples(directory: Path, methods: Sequence[str], answer: str, items: int = 6) -> None:
    examples = tuple(
        Example(
            item,
            None,
            f"Yui has 18 marbles and loses {item}. {answer}",
            (str(18 - item),),
            (),
            (),
            tuple(
                Answer(name, answer, str(n), float(n % 2 == item % 2), n % 2 == item % 2)
                for n, name in enumerate(methods)
            ),
        )
        for item in range(items)
    )
    Examples("test", 40, {"": ("accuracy", "fraction")}, examples).save(directory)


def leave_path(directory: Path, hops: int = 12) -> None:
    """Put a path through layers in the place of a run's merge."""
    pool = {name: Ingredient(f"models/{name}", "ab" * 32) for name in SOURCES}
    path = tuple(Hop(SOURCES[n % 2], n // 2, 1.0 if n % 3 else 0.5) for n in range(hops))
    PathRecipe(pool=pool, skeleton="math", hops=path, dtype="float32").save(
        directory / "recipe.yaml"
    )


def write_yaml(path: Path, tree: object) -> None:
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
