"""The package's functions for Python, which the command line uses too."""

import contextlib
import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from evojax_merge.checkpoints import Model, export, load
from evojax_merge.config import build, build_operator, compose, load_config_file, resolved_yaml
from evojax_merge.evidence import collect, prepare
from evojax_merge.evolution.measure import measure
from evojax_merge.evolution.run import EVIDENCE, Run, run
from evojax_merge.exchange import apply_plan, load_configuration, plan_merge, to_mergekit
from evojax_merge.fitness.base import Task
from evojax_merge.ingredients import load_ingredients, plan
from evojax_merge.merging import leaf_coefficients, merge_recipe
from evojax_merge.recipe import Recipe, RecipeError
from evojax_merge.report.results import Result

OWN_OPERATORS = "evojax_merge.operators."
CONFIG_FILE = "config.yaml"

__all__ = [
    "Evaluation",
    "apply_mergekit",
    "evaluate",
    "evolve",
    "export",
    "load",
    "merge",
    "resume",
    "to_mergekit",
]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a model did on a task.

    Attributes:
        result: Score with its 95 % interval.
        items: Result of every item, in the order of the data.
        details: For every item what the model answered and how it was judged.
    """

    result: Result
    items: np.ndarray
    details: list[dict[str, Any]]


def evaluate(model: Model, task: Task) -> Evaluation:
    """Measure a model on the items of a task's current split (``task.on("test")`` for another).

    Raises:
        ValueError: The model cannot be measured by this task.
    """
    bound = task.bind(model)
    items, outputs = measure(model, bound)
    return Evaluation(
        Result.of(model.directory.name, task.split, items), items, bound.details(outputs, 0)
    )


def merge(recipe: Recipe | str | Path, *, trust_operator: bool = False) -> Model:
    """Build the model that a recipe describes, the same to the bit every time.

    Args:
        recipe: A recipe, or the path of one.
        trust_operator: Allow an operator from outside this package, whose code is then run.

    Raises:
        RecipeError: The recipe is malformed or does not fit its models, its checkpoints have
            changed since, or its operator is not to be trusted. No weights were read.
        CheckpointError: A checkpoint is missing or damaged.
        ValueError: The data of an operator that asks for evidence is missing or has changed.
    """
    kept = None
    if not isinstance(recipe, Recipe):
        beside = Path(recipe).parent / EVIDENCE
        kept = beside if beside.is_dir() else None
        recipe = Recipe.load(recipe)
    foreign = [t for t in _targets(recipe) if not t.startswith(OWN_OPERATORS)]
    if foreign and not trust_operator:
        raise RecipeError(
            f"the recipe's operator is {foreign[0]}, code from outside this package; if you "
            "trust it, allow it with trust_operator=True (--trust-operator)"
        )
    operator = build_operator(recipe.operator, recipe.arguments)
    prepared = plan(
        recipe.base.path if recipe.base else None,
        [source.path for source in recipe.sources],
        recipe.reference,
        recipe.dtype,
    )
    leaf_coefficients(recipe, operator, prepared.reference)  # refused before weights are read
    _check_unchanged(recipe, prepared)
    items = prepare(operator, prepared.reference, len(recipe.sources))
    ingredients = load_ingredients(prepared)
    names = [source.path for source in recipe.sources]
    evidence = collect(operator, items, ingredients.whole_sources(), names, kept)
    return merge_recipe(recipe, operator, ingredients, evidence)


def apply_mergekit(
    file: str | Path, directory: str | Path, *, seed: int = 0, overwrite: bool = False
) -> Path:
    """Run a mergekit YAML from file to file, a tensor at a time.

    Args:
        file: The YAML.
        directory: Where the merged checkpoint is written; with ``overwrite`` it may hold something.
        seed: Of random masks; mergekit's YAML has none.
        overwrite: Replace what the directory holds.

    Raises:
        ExchangeError: The YAML, or how it fits the models, is not supported; no weights were read.
        CheckpointError: A checkpoint is missing or damaged.
    """
    plan = plan_merge(load_configuration(file))
    text = Path(file).read_text(encoding="utf-8")
    return apply_plan(plan, directory, seed=seed, overwrite=overwrite, text=text)


def evolve(
    config: DictConfig | Sequence[str],
    directory: str | Path | None = None,
    console: Console | None = None,
) -> Run:
    """Search for the best merge.

    Args:
        config: A composed configuration, or the overrides that the command line would take, e.g.
            ``["model.base=DIR", "model.sources=[DIR,DIR]", "fitness.data=items.jsonl"]``.
        directory: Where everything is left; by default ``runs/NAME/DATE_TIME``. If it holds the
            beginning of the same run, that is continued.
        console: Where to show progress; by default nowhere.

    Raises:
        ValueError: The configuration, a checkpoint or the data cannot be used; nothing expensive
            has happened then.
        Interrupted: A signal came; `resume` continues.
    """
    if not isinstance(config, DictConfig):
        config = compose(config)
    experiment = build(config)
    if directory is None:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        directory = Path("runs") / experiment.name / stamp
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    config.working_directory = str(Path.cwd())
    text = resolved_yaml(config)
    kept = directory / CONFIG_FILE
    if kept.exists() and kept.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{directory}: holds a run of another configuration; give another directory, or "
            "continue that run with resume"
        )
    kept.write_text(text, encoding="utf-8")
    return run(experiment, directory, console)


def resume(directory: str | Path, console: Console | None = None) -> Run:
    """Continue an interrupted run, to the same result to the bit as without the interruption.

    Relative paths in its configuration are read from where it was started.

    Raises:
        ConfigError: The directory holds no run.
    """
    directory = Path(directory).absolute()
    config = load_config_file(directory / CONFIG_FILE)
    started = Path(config.working_directory or ".")
    with contextlib.chdir(started if started.is_dir() else "."):
        return run(build(config), directory, console)


def _check_unchanged(recipe: Recipe, prepared: Any) -> None:
    wanted = [recipe.base, *recipe.sources]
    found = [prepared.base_ingredient, *prepared.source_ingredients]
    changed = [
        want.path
        for want, have in zip(wanted, found, strict=True)
        if want is not None and want.sha256 is not None and want.sha256 != have.sha256
    ]
    if changed:
        raise RecipeError(
            "these checkpoints are not the ones the recipe was made with (their sha256 differs): "
            + ", ".join(changed)
        )


def _targets(recipe: Recipe) -> list[str]:
    """Everything that making the recipe's operator would call."""

    def inner(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [str(value["_target_"])] if "_target_" in value else []
            return own + [target for part in value.values() for target in inner(part)]
        if isinstance(value, list | tuple):
            return [target for part in value for target in inner(part)]
        return []

    return [recipe.operator, *inner(recipe.arguments)]
