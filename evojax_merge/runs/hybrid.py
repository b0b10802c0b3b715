"""A merge in parameter space, followed by paths through its layers and those of its sources."""

from collections.abc import Mapping

from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.runs.dataflow import DataflowProblem, routed_problem
from evojax_merge.runs.merged import MergingSetup, routable
from evojax_merge.runs.parameter import parameter_stage
from evojax_merge.runs.problem import RANDOM_PATHS, Winner
from evojax_merge.runs.setup import Stage
from evojax_merge.sources.reference import Ingredient
from evojax_merge.spaces.joint import MERGED

PARAMETER_SPACE = "parameter_space"
"""What results call the first stage of a hybrid."""


class HybridSetup(MergingSetup):
    """The set-up of a search for paths through a pool that another search's winner has joined."""

    def _arrange(self) -> None:
        hybrid = self.experiment.space
        names = self.experiment.model.source_names
        evaluations = self.experiment.budget.evaluations
        share = max(1, round(hybrid.share * evaluations))
        first = parameter_stage(self, PARAMETER_SPACE, hybrid.parameter, share)
        layout = routable(self.prepared, self.layout)
        pool = hybrid.members(names)
        self.check_pool(pool)
        space = hybrid.dataflow(sources=pool, layers=[layout.depth()] * len(pool))
        strategy = self.strategy(space)
        population = first.strategy.population_size
        spent = -(-share // population) * population

        def problem(winners: Mapping[str, Winner]) -> DataflowProblem:
            assert self._ingredients is not None
            merged = winners[PARAMETER_SPACE]
            assert merged.model is not None  # a merge of parameters is a plain model
            models = dict(zip(names, self._ingredients.whole_sources(), strict=True))
            members: dict[str, Ingredient | Recipe] = dict(
                zip(names, self.prepared.source_ingredients, strict=True)
            )
            return routed_problem(
                self.experiment,
                self.prepared,
                space,
                strategy,
                {**models, MERGED: merged.model},
                {**members, MERGED: merged.recipe},
                self.bound,
                self._mesh,
                shown_as={MERGED: PARAMETER_SPACE},
                make=self.measuring,
            )

        left = max(1, evaluations - spent)
        second = Stage("hybrid", space, strategy, left, problem, random=RANDOM_PATHS)
        self.stages = [first, second]
