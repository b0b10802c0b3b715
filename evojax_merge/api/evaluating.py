"""Measuring a model, and drawing with it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evojax_merge.checkpoints import Model
from evojax_merge.fitness.base import Task
from evojax_merge.sources.pool import Route

if TYPE_CHECKING:
    from evojax_merge.fitness.drawing.notes import DrawingNotes
    from evojax_merge.fitness.drawing.showing import Drawn
    from evojax_merge.report.results import Result


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

    def __repr__(self) -> str:
        return f"Evaluation({self.result!r})"


def evaluate(
    model: Model | Route, task: Task, name: str | None = None, *, keep_pictures: bool = False
) -> Evaluation:
    """Measure a model on the items of a task's current split (``task.on("test")`` for another).

    Args:
        model: A model, or the path of a data-flow recipe (`route`), which is run as in a search.
        task: What is measured.
        name: What the result calls the model; by default, the name of its directory, or ``merged``
            where it was merged from several.
        keep_pictures: Whether the pictures of a task that draws are kept; they are drawn once more.

    Raises:
        ValueError: The model cannot be measured by this task.
    """
    from evojax_merge.fitness.beside import prepare
    from evojax_merge.fitness.drawing.showing import flawed, shown_of
    from evojax_merge.measuring.measure import measure, measure_route
    from evojax_merge.report.results import Result

    own = model.pool.skeleton if isinstance(model, Route) else model
    bound = task.bind(own)
    prepare(bound)
    items, outputs = (
        measure_route(model, bound) if isinstance(model, Route) else measure(model, bound)
    )
    result = Result.of(name or _name_of(own), task, items, flawed=flawed(bound, outputs))
    shown: Any = shown_of(bound, every=True) if keep_pictures else None
    pictures = [] if shown is None else shown.pictures(measure(own, shown)[1])
    return Evaluation(result, items, bound.details(outputs, 0), pictures)


def _name_of(model: Model) -> str:
    return model.directory.name if model.recipe is None else "merged"


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
