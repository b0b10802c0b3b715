"""The package's functions for Python, which the command line uses too.

What only runs need (orbax, evosax, matplotlib) is imported by the functions that run something.
"""

import contextlib
import dataclasses
import datetime
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from omegaconf import DictConfig

from evojax_merge import __version__, hosts, operators
from evojax_merge.checkpoints import Model, export, load
from evojax_merge.config import (
    ConfigError,
    build,
    compilation_cache,
    compose,
    load_config_file,
    resolved_yaml,
    settings_by_key,
)
from evojax_merge.documents.files import irregular, links_out, naming, write_whole
from evojax_merge.documents.log import keeping_log, note
from evojax_merge.exchange import apply_mergekit, to_mergekit
from evojax_merge.exchange.pipeline_recipes import apply_to_files
from evojax_merge.fitness.base import Task
from evojax_merge.measuring.compilations import keeping
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from evojax_merge.recipes.execution import Terms, model_of, route_of
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.search.lock import LockedError, ReadOnlyError, locked
from evojax_merge.sources.evidence import FOLDER as EVIDENCE
from evojax_merge.sources.pool import Route

if TYPE_CHECKING:
    from rich.console import Console

    from evojax_merge.fitness.drawing.notes import DrawingNotes
    from evojax_merge.fitness.drawing.showing import Drawn
    from evojax_merge.report.results import Result
    from evojax_merge.runs.run import Run

CONFIG_FILE, OVERRIDES_FILE, LOG_FILE = "config.yaml", "overrides.yaml", "run.log"

__all__ = [
    "Evaluation",
    "apply",
    "apply_mergekit",
    "draw",
    "evaluate",
    "evolve",
    "export",
    "foreign_operators",
    "load",
    "merge",
    "resume",
    "route",
    "to_mergekit",
]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a model did on a task.

    Attributes:
        result: The score with its 95 % interval.
        items: The result of every item, in the order of the data.
        details: What the model answered on every item, and how the answer was judged.
        pictures: What it drew of every item, if it was asked to keep that and draws.
    """

    result: "Result"
    items: np.ndarray
    details: list[dict[str, Any]]
    pictures: "Sequence[Drawn]" = ()


def evaluate(
    model: Model | Route, task: Task, name: str | None = None, *, keep_pictures: bool = False
) -> Evaluation:
    """Measure a model on the items of a task's current split (``task.on("test")`` for another).

    Args:
        model: A model, or the path of a data-flow recipe (`route`), which is run as in a search.
        task: What is measured.
        name: What the result calls the model; by default, the name of its directory.
        keep_pictures: Whether the pictures of a task that draws are kept; they are drawn once more.

    Raises:
        ValueError: The model cannot be measured by this task.
    """
    from evojax_merge.fitness.drawing.showing import flawed, shown_of
    from evojax_merge.measuring.measure import measure, measure_route
    from evojax_merge.report.results import Result

    own = model.pool.skeleton if isinstance(model, Route) else model
    bound = task.bind(own)
    items, outputs = (
        measure_route(model, bound) if isinstance(model, Route) else measure(model, bound)
    )
    result = Result.of(name or own.directory.name, task, items, flawed=flawed(bound, outputs))
    shown: Any = shown_of(bound, every=True) if keep_pictures else None
    pictures = [] if shown is None else shown.pictures(measure(own, shown)[1])
    return Evaluation(result, items, bound.details(outputs, 0), pictures)


def draw(
    model: Model, prompts: str | Path | Sequence[str], notes: "DrawingNotes | None" = None
) -> "list[Drawn]":
    """Draw pictures by a pipeline's UNet, such as the merge of a recipe.

    Args:
        model: The UNet, with the pipeline around it at hand, as `merge` and
            `evojax_merge.checkpoints.load_parts` return it.
        prompts: The prompts; or a text file with one a line, or JSON Lines as a task's data.
        notes: How pictures are drawn; by default, in 30 steps of the pipeline's own sampler.

    Raises:
        DataError: The file cannot be read, or a prompt is empty.
        ValueError: The model does not draw, or not so.
    """
    from evojax_merge.fitness.drawing.drawings import Drawings
    from evojax_merge.fitness.drawing.notes import DrawingNotes
    from evojax_merge.fitness.drawing.pipeline import Pipeline
    from evojax_merge.fitness.drawing.prompts import given_prompts, read_prompts
    from evojax_merge.fitness.drawing.showing import ShownDrawings
    from evojax_merge.measuring.measure import measure

    notes = notes or DrawingNotes()
    read = read_prompts if isinstance(prompts, str | Path) else given_prompts
    items = read(prompts, notes.negative, notes.seed)  # type: ignore[arg-type]
    pipeline = Pipeline.of(model, notes.sampling, "draw", "default", notes.tokenizers)
    shown: Any = ShownDrawings(Drawings(items, pipeline), np.arange(len(items)))
    return shown.pictures(measure(model, shown)[1])


def merge(
    recipe: Recipe | PathRecipe | WeightsRecipe | str | Path,
    *,
    trust_operator: bool = False,
    force: bool = False,
    use_cache: bool = True,
) -> Model:
    """Build the model that a recipe describes, the same to the bit every time.

    Args:
        recipe: A recipe of any kind, or the path of one.
        trust_operator: Whether an operator may come from outside this package; its code is run.
        force: Whether checkpoints may have changed since the recipe was made.
        use_cache: Whether what operators compute of whole tensors is kept for the next time, in
            `evojax_merge.operators.statistics.cache.default_directory`, and taken from there.

    Returns:
        The model. A data-flow recipe gives a plain model with a layer for each hop, into whose
        weights the scales are absorbed.

    Raises:
        RecipeError: The recipe is malformed or does not fit its models, its checkpoints have
            changed since, or its operator is not to be trusted. No weights were read.
        CheckpointError: A checkpoint is missing or damaged.
        ValueError: The data of an operator that asks for evidence is missing or has changed; or
            plain weights cannot express the scales of a path.
    """
    kept = None
    if not isinstance(recipe, Recipe | PathRecipe | WeightsRecipe):
        kept = _kept_evidence(Path(recipe).parent)
        recipe = load_recipe(recipe)
    terms = Terms(trust_operator, force, use_cache, kept)
    return model_of(recipe, terms)


def apply(
    recipe: str | Path,
    directory: str | Path,
    *,
    trust_operator: bool = False,
    force: bool = False,
    overwrite: bool = False,
) -> Path:
    """Build the model that a recipe describes and write it, as `merge` and `export` do.

    Weighted sums of pipelines of Stable Diffusion go from file to file, a piece at a time, in
    little memory.

    Args:
        recipe: The path of a recipe of any kind.
        directory: The directory of the export, or ``NAME.safetensors`` for a pipeline in one file.
        trust_operator: Whether an operator may come from outside this package; its code is run.
        force: Whether checkpoints may have changed since the recipe was made.
        overwrite: Whether to replace what is there.

    Raises:
        RecipeError: `merge` refuses the recipe.
        CheckpointError: A checkpoint is missing or damaged, or `export` refuses the directory.
        ValueError: See `merge`.
    """
    read = load_recipe(recipe)
    terms = Terms(trust_operator, force, True, None)
    if isinstance(read, Recipe) and (done := apply_to_files(read, directory, terms, overwrite)):
        return done
    model = merge(recipe, trust_operator=trust_operator, force=force)
    return export(model, directory, overwrite=overwrite)


def _kept_evidence(directory: Path) -> Path | None:
    """The folder of evidence beside a recipe, which is read and added to; None if there is none.

    Raises:
        RecipeError: The folder is elsewhere, where a stranger's link would have files written, or
            it holds what is no file.
    """
    folder = directory / EVIDENCE
    if not folder.is_dir():
        return None
    if not folder.resolve().is_relative_to(directory.resolve()):
        raise RecipeError(
            f"{folder}: leads out of the recipe's directory, and evidence would be written there; "
            "put a folder in the place of the link, or remove it"
        )
    _check_regular(folder)
    return folder


def _check_regular(directory: Path) -> None:
    if found := irregular(directory):
        raise RecipeError(f"{found[0]}: is no regular file; replace it by one, or remove it")


def route(
    recipe: PathRecipe,
    *,
    trust_operator: bool = False,
    force: bool = False,
    use_cache: bool = True,
    kept: Path | None = None,
) -> Route:
    """The pool of a data-flow recipe, loaded, and the path through it.

    Args:
        recipe: The recipe.
        trust_operator: Whether an operator may come from outside this package; its code is run.
        force: Whether checkpoints may have changed since the recipe was made.
        use_cache: Whether what operators compute of whole tensors is kept, and taken from there.
        kept: The folder that keeps evidence, if any.

    Raises:
        RecipeError: The recipe is malformed or does not fit its models, its checkpoints have
            changed since, or its operator is not to be trusted.
        CheckpointError: A checkpoint is missing or damaged.
    """
    return route_of(recipe, Terms(trust_operator, force, use_cache, kept))


def evolve(
    config: DictConfig | Sequence[str],
    directory: str | Path | None = None,
    console: "Console | None" = None,
    *,
    overrides: Sequence[str] | None = None,
    on_start: Callable[[], object] = lambda: None,
    callbacks: Sequence[Any] = (),
) -> "Run":
    """Search for the best merge.

    Args:
        config: A composed configuration, or the overrides that the command line would take, e.g.
            ``["model.base=DIR", "model.sources=[DIR,DIR]", "fitness.data=items.jsonl"]``.
        directory: Where everything is left; by default, ``runs/NAME/DATE_TIME``. If it holds the
            beginning of the same run, that is continued. A refused start leaves no directory.
        console: Where progress is shown; by default, nowhere.
        overrides: What the configuration was composed from, kept beside it for tables of sweeps.
        on_start: A function that is called when all is checked and the weights are read.
        callbacks: Functions that are told of each generation, with a
            `evojax_merge.report.course.Generation`, and `evojax_merge.report.course.Listener`
            objects. What they raise ends the run, which `resume` continues.

    With several processes (the configuration's ``distributed``) each calls this, and the first one
    writes.

    Raises:
        ValueError: The configuration, a checkpoint or the data cannot be used; nothing expensive
            has happened then.
        HostsError: Several processes cannot go on together.
        LockedError: Another process is writing the directory.
        Interrupted: A signal came; `resume` continues.
    """
    if not isinstance(config, DictConfig):
        overrides = list(config)
        config = compose(config)
    hosts.start(hosts.DistributedConfig(**config.distributed))
    if directory is None:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        directory = Path("runs") / config.name / stamp
    with hosts.together():
        directory = _directory_of_all(directory)
        with keeping(compilation_cache(config)), _kept_once_begun(directory):
            from evojax_merge.report.course import listeners_of
            from evojax_merge.runs.run import run

            listeners = listeners_of(callbacks)
            config.working_directory = str(Path.cwd())
            text = resolved_yaml(config)
            hosts.compare("settings", settings_by_key(config), "Give all hosts the same ones")
            experiment = build(config)
            with _held(directory):
                if hosts.is_first():
                    _keep_config(directory, text, overrides)
                hosts.check_shared(directory)
                with _log_of(directory):
                    return run(experiment, directory, console, on_start, listeners)


def _directory_of_all(directory: str | Path) -> Path:
    """The directory that process 0 writes; that of this process, where it is alone."""
    if hosts.active() is None:
        return Path(directory)
    return Path(hosts.agree(str(Path(directory).absolute())))


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, which is made if need be, in the process that writes."""
    if not hosts.is_first():
        yield
        return
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory):
        yield


@contextlib.contextmanager
def _log_of(directory: Path) -> Iterator[None]:
    """Keep what a run says in its log, in the process that speaks."""
    if not hosts.is_first():
        yield
        return
    with keeping_log(directory / LOG_FILE):
        writer = f"process {os.getpid()} on {socket.gethostname()}"
        note(f"evojax-merge {__version__}, {_versions()}, {writer}")
        yield


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "transformers"))


def _keep_config(directory: Path, text: str, overrides: Sequence[str] | None) -> None:
    """Keep a run's configuration in its directory, which may hold the beginning of this run.

    Raises:
        ValueError: The directory holds another run.
    """
    kept = directory / CONFIG_FILE
    if kept.exists() and kept.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{directory}: holds a run of another configuration; give another directory, or "
            "continue that run with resume"
        )
    if overrides is not None and not kept.exists():
        keep_overrides(directory, overrides)  # a run that has begun has them
    with naming(kept):
        write_whole(kept, lambda partial: partial.write_text(text, encoding="utf-8"))


def keep_overrides(directory: Path, overrides: Sequence[str]) -> None:
    """Keep what a run was asked for in its directory, which is made if need be."""
    file = directory / OVERRIDES_FILE
    text = yaml.safe_dump(list(overrides))
    with naming(file):
        write_whole(file, lambda partial: partial.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def _kept_once_begun(directory: Path) -> Iterator[None]:
    """Remove a directory that was not there, or empty, if the block fails before a search."""
    if not hosts.is_first():
        yield
        return
    new = not directory.exists() or (directory.is_dir() and not any(directory.iterdir()))
    try:
        yield
    except LockedError:  # of whoever was faster
        raise
    except BaseException:
        if new and not (directory / "checkpoints").exists():
            shutil.rmtree(directory, ignore_errors=True)
        raise


def resume(
    directory: str | Path,
    console: "Console | None" = None,
    *,
    trust_config: bool = False,
    distributed: hosts.DistributedConfig | None = None,
    callbacks: Sequence[Any] = (),
) -> "Run":
    """Continue an interrupted run, to the same result to the bit as without the interruption.

    It may go on with other numbers of hosts and devices than it began with. Relative paths in its
    configuration are read from where it was started. What a finished run left is read where it
    cannot be written.

    Args:
        directory: The directory of the run.
        console: Where progress is shown; by default, nowhere.
        trust_config: Whether what the run's configuration names from outside this package may be
            imported and called.
        distributed: The processes that continue it together, each of which calls this; by default,
            those of a cluster that is recognised, or this one alone.
        callbacks: As for `evolve`.

    Raises:
        ConfigError: The directory holds no run, or its configuration is not to be trusted.
        HostsError: Several processes cannot go on together.
        RecipeError: Something in the directory is no regular file.
        LockedError: Another process is writing the directory.
    """
    hosts.start(distributed)
    with hosts.together():
        directory = _directory_of_all(Path(directory).absolute())
        hosts.check_shared(directory)
        return _resume(directory, console, trust_config, callbacks)


def _resume(
    directory: Path, console: "Console | None", trust_config: bool, callbacks: Sequence[Any]
) -> "Run":
    from evojax_merge.report.course import listeners_of

    listeners = listeners_of(callbacks)
    config = load_config_file(directory / CONFIG_FILE, trust=trust_config)
    if (links := links_out(directory)) and not trust_config:
        raise ConfigError(
            f"{links[0]}: leads out of the run's directory, and going on would write elsewhere; "
            "put a file or a folder in the place of the link, or say that you trust it with "
            "trust_config=True (--trust-config)"
        )
    _check_regular(directory)
    try:
        with (
            _held(directory),
            contextlib.chdir(started_from(config)),
            keeping(compilation_cache(config)),
            _log_of(directory),
        ):
            from evojax_merge.runs.run import run

            return run(build(config), directory, console, listeners=listeners)
    except ReadOnlyError as error:
        from evojax_merge.runs.run import left_by

        if hosts.active() is None and (finished := left_by(directory, console)) is not None:
            return finished
        raise ValueError(
            f"{error.filename}: cannot be written ({error.strerror}), and the run is not finished; "
            "copy it to where it can be, and resume the copy"
        ) from error


def started_from(config: DictConfig) -> Path:
    """The directory from which a run was started, as far as it is still there."""
    started = Path(config.working_directory or ".")
    return started if started.is_dir() else Path()


def foreign_operators(recipe: Recipe | PathRecipe | WeightsRecipe) -> list[str]:
    """The factories from outside this package that carrying out a recipe would import and call."""
    if isinstance(recipe, WeightsRecipe):
        return []
    members = recipe.pool.values() if isinstance(recipe, PathRecipe) else [recipe]
    found = [
        name
        for member in members
        if isinstance(member, Recipe)
        for name in operators.foreign_operators(member.operator, member.arguments)
    ]
    return list(dict.fromkeys(found))
