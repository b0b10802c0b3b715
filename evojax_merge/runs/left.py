"""What a run leaves behind, and reading it again."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evojax_merge.checkpoints import Model, load_parts
from evojax_merge.documents.terminal import printable
from evojax_merge.recipes.coefficients import RECIPE_FILE, Recipe
from evojax_merge.recipes.path import PathRecipe, load_recipe
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.report.frames import history_frame, results_frame, results_html
from evojax_merge.report.front import Front
from evojax_merge.report.results import Result, load_results
from evojax_merge.report.run_files import EXPORT, HISTORY_FILE, RESULTS_FILE
from evojax_merge.runs.problem import EVOLVED

if TYPE_CHECKING:
    from pandas import DataFrame


class FrontMember(NamedTuple):
    """A merge that no other one of a front beats in all tasks.

    Attributes:
        recipe: Its recipe, which `evojax_merge.merge` builds.
        scores: The mean of each task, by split and name.
    """

    recipe: Recipe | PathRecipe | WeightsRecipe
    scores: dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run leaves behind.

    Attributes:
        directory: The run's directory, which holds ``results.json``, ``recipe.yaml``,
            ``history.jsonl``, ``provenance.json``, ``checkpoints/``, ``plots/`` and ``export/``,
            ``evidence/`` where the operator asks for some, and ``images/`` where models draw.
        recipe: The recipe of the winner.
        model: The winner; None where plain weights cannot express its path, or where `read_run`
            was not asked for it.
        results: The scores of all methods, on every split that was measured.
    """

    directory: Path
    recipe: Recipe | PathRecipe | WeightsRecipe
    model: Model | None
    results: list[Result]

    @property
    def result(self) -> Result:
        """The winner's result on the split furthest from the search, test where there is one."""
        return next(result for result in self.results if result.name == EVOLVED)

    @property
    def history(self) -> "DataFrame":
        """Every candidate that was evaluated, a row each (see `evojax_merge.search.history`).

        Raises:
            PandasError: pandas is not installed.
        """
        return history_frame(self.directory / HISTORY_FILE)

    @property
    def table(self) -> "DataFrame":
        """The scores of all methods on every split, a row each.

        Raises:
            PandasError: pandas is not installed.
        """
        return results_frame(self.results)

    @property
    def front(self) -> list[FrontMember]:
        """The members of the front, where a strategy of several objectives left one.

        Raises:
            ValueError: There is no front, or it is damaged.
        """
        members = Front.load(self.directory).members
        return [
            FrontMember(load_recipe(self.directory / one.recipe), one.scores) for one in members
        ]

    @property
    def compared(self) -> list[Result]:
        """The scores of all methods on the split furthest from the search."""
        return [one for one in self.results if one.split == self.results[0].split]

    def __repr__(self) -> str:
        return printable(f"Run({self.directory}: {self.result!r}, {self.recipe!r})")

    def _repr_html_(self) -> str:
        return results_html(self.compared, str(self.directory))


def read_run(directory: str | Path, *, with_model: bool = False) -> Run:
    """Read what a finished run left, without going on with anything.

    Args:
        directory: The directory of the run.
        with_model: Whether the exported winner is loaded, too.

    Raises:
        ValueError: The run is not finished, or what it left is damaged.
    """
    directory = Path(directory)
    if not is_finished(directory):
        raise ValueError(
            f"{directory}: holds no finished run; finish it with resume, or give the directory of "
            f"one, in which {RESULTS_FILE} is"
        )
    recipe, results = load_recipe(directory / RECIPE_FILE), load_results(directory / RESULTS_FILE)
    exported = directory / EXPORT
    parts = None if isinstance(recipe, PathRecipe) else recipe.parts
    model = load_parts(exported, parts=parts) if with_model and exported.is_dir() else None
    if model is not None:
        model = dataclasses.replace(model, recipe=recipe)
    return Run(directory, recipe, model, results)


def is_finished(directory: Path) -> bool:
    """Whether a run has left all that tells of its end."""
    return (directory / RESULTS_FILE).is_file() and (directory / RECIPE_FILE).is_file()
