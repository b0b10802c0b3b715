"""A whole run: search, choose, compare, report, export; and again from wherever it stopped."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from evojax_merge.checkpoints import Model, export
from evojax_merge.evidence import Items, collect, pinned, prepare
from evojax_merge.evolution.checkpointing import Checkpointer
from evojax_merge.evolution.evaluate import Evaluation, Evaluator, MergeFn
from evojax_merge.evolution.history import History, read_history
from evojax_merge.evolution.interruption import Interruption, watch
from evojax_merge.evolution.loop import EvaluateFn, search
from evojax_merge.evolution.measure import measure
from evojax_merge.evolution.state import Archive
from evojax_merge.experiment import Experiment
from evojax_merge.gradient import AdaMerging, PredictionEntropy
from evojax_merge.ingredients import Ingredients, Plan, load_ingredients, plan
from evojax_merge.layout import Layout
from evojax_merge.merging import merge_recipe, published_merges
from evojax_merge.operators import Evidence, check_sources, init_statistics, merge
from evojax_merge.recipe import Recipe
from evojax_merge.report.plots import plot_coefficients, plot_fitness
from evojax_merge.report.progress import SearchProgress
from evojax_merge.report.results import Result, results_table, save_results
from evojax_merge.spaces import ParameterSpace
from evojax_merge.strategies import EvosaxStrategy, Strategy
from evojax_merge.types import Genotype, Params, Population

EVOLVED = "evolved"
RANDOM = "random_search"
EVIDENCE = "evidence"
"""Folder of a run that keeps what was collected for operators that ask for evidence."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run leaves behind.

    Attributes:
        directory: Holds ``results.json``, ``recipe.yaml``, ``history.jsonl``, ``checkpoints/``,
            ``plots/`` and ``export/``; ``evidence/`` where the operator asks for some.
        recipe: Of the winner.
        model: The winner.
        results: Scores of all methods, on every split that was measured.
    """

    directory: Path
    recipe: Recipe
    model: Model
    results: list[Result]

    @property
    def result(self) -> Result:
        """The winner's, on the split that was furthest from the search: test where there is one."""
        return next(result for result in self.results if result.name == EVOLVED)


@dataclasses.dataclass(frozen=True)
class _Found:
    """The winner of a search, and what it took to find it."""

    genotype: np.ndarray
    evaluations: int
    seconds: float


def run(experiment: Experiment, directory: Path, console: Console | None = None) -> Run:
    """Carry out an experiment, or the rest of it if the directory holds its beginning.

    Args:
        experiment: What to do.
        directory: Where to leave everything; made if it is not there.
        console: Where to show progress; by default nowhere.

    Raises:
        ValueError: Anything that makes the experiment impossible, before any weights are read.
        Interrupted: A signal came; everything completed is saved.
        CheckpointingError: The disk is full or broken; the last good generation is kept.
    """
    console = console or Console(quiet=True)
    choice, operator = experiment.model, experiment.operator
    check_sources(operator, len(choice.sources), choice.base is not None)
    prepared = plan(choice.base, choice.sources, choice.reference, choice.dtype)
    tasks = {split: experiment.task.on(split) for split in experiment.task.splits}
    bound = {
        split: task.bind(prepared.reference) for split, task in tasks.items() if split != "train"
    }
    layout = Layout.of(prepared.reference.family, prepared.reference.config)
    space = experiment.space(operator=operator, layout=layout, sources=choice.source_names)
    strategy = experiment.strategy(lower=space.lower, upper=space.upper, start=space.start)
    items = prepare(operator, prepared.reference, len(choice.sources))
    directory.mkdir(parents=True, exist_ok=True)
    console.print(
        f"{experiment.name}: {space.dims} genes ({operator.name}, {len(space.sources)} sources × "
        f"{len(space.segments)} segments), population {strategy.population_size}, "
        f"{experiment.budget.evaluations} evaluations of {len(bound['search'])} items",
        soft_wrap=True,
    )
    mesh = experiment.mesh()
    ingredients = load_ingredients(prepared)
    ingredients.check_task_vectors(operator, choice.source_names)
    evidence = collect(
        operator,
        items,
        ingredients.whole_sources(),
        choice.source_names,
        directory / EVIDENCE,
        lambda message: console.print(message, soft_wrap=True, markup=False),
    )
    evaluator = make_evaluator(experiment, space, strategy, ingredients, bound, mesh, evidence)
    with watch() as interruption:
        return _Runner(
            experiment,
            prepared,
            space,
            ingredients,
            items,
            evidence,
            evaluator,
            directory,
            console,
            interruption,
        ).run(strategy)


def make_merge_fn(
    experiment: Experiment, space: ParameterSpace, ingredients: Ingredients
) -> MergeFn:
    """Parameters of the candidate that a genotype describes."""

    def merge_fn(materials: Any, genotype: Genotype) -> Params:
        base, sources, statistics = materials
        coefficients = space.expand(space.decode(genotype))
        return merge(
            experiment.operator,
            base,
            sources,
            coefficients,
            statistics,
            experiment.seed,
            ingredients.dtype,
        )

    return merge_fn


def make_evaluator(
    experiment: Experiment,
    space: ParameterSpace,
    strategy: Strategy,
    ingredients: Ingredients,
    tasks: dict[str, Any],
    mesh: Mesh,
    evidence: Evidence | None = None,
) -> Evaluator:
    """What merges and measures the candidates of an experiment."""
    operator = experiment.operator
    base = ingredients.base_for(operator)
    sources = ingredients.source_params
    return Evaluator(
        ingredients.reference.family,
        ingredients.reference.config,
        make_merge_fn(experiment, space, ingredients),
        (base, sources, init_statistics(operator, base, sources, evidence)),
        tasks,
        mesh=mesh,
        dims=space.dims,
        population_size=strategy.population_size,
        chunk=experiment.budget.chunk,
    )


@dataclasses.dataclass(frozen=True)
class _Runner:
    """The steps of a run, on what was loaded once."""

    experiment: Experiment
    prepared: Plan
    space: ParameterSpace
    ingredients: Ingredients
    items: tuple[Items, ...]
    evidence: Evidence | None
    evaluator: Evaluator
    directory: Path
    console: Console
    interruption: Interruption

    def run(self, strategy: Strategy) -> Run:
        found = self._search(EVOLVED, strategy)
        recipe = self._recipe(found)
        recipe.save(self.directory / "recipe.yaml")
        others = {}
        if self.experiment.baselines.random_search:
            others[RANDOM] = self._search(RANDOM, self._random_strategy(strategy))
        model = merge_recipe(recipe, self.experiment.operator, self.ingredients, self.evidence)
        results = self._compare(model, found, others)
        save_results(results, self.directory / "results.json")
        self._report(recipe, results)
        if self.experiment.export:
            export(model, self.directory / "export", overwrite=True)
            self.console.print(f"exported to {self.directory / 'export'}", soft_wrap=True)
        return Run(self.directory, recipe, model, results)

    def _random_strategy(self, like: Strategy) -> Strategy:
        space = self.space
        return EvosaxStrategy(
            "RandomSearch",
            lower=space.lower,
            upper=space.upper,
            start=space.start,
            population_size=like.population_size,
        )

    def _search(self, name: str, strategy: Strategy) -> _Found:
        budget = self.experiment.budget
        generations = -(-budget.evaluations // strategy.population_size)

        def evaluate_fn(population: Population) -> Evaluation:
            return self.evaluator(population, "search", self.interruption.check)

        score_fn: EvaluateFn = evaluate_fn
        if isinstance(strategy, AdaMerging):
            strategy = self._on_entropy(strategy)
            score_fn = _by_own_score(strategy)
        history = History(self.directory / "history.jsonl")
        with SearchProgress(
            self.console, name, generations, strategy.population_size
        ) as on_generation:
            state = search(
                name,
                strategy,
                score_fn,
                key=jax.random.key(self.experiment.seed),
                generations=generations,
                archive_size=budget.finalists,
                checkpointer=Checkpointer(self.directory / "checkpoints" / name),
                history=history,
                on_generation=on_generation,
                interrupted=self.interruption.check,
            )
        rows = [row for row in read_history(history.path) if row["search"] == name]
        seconds = sum(row["seconds"] for row in rows)
        return _Found(self._choose(state.archive), len(rows), seconds)

    def _on_entropy(self, strategy: AdaMerging) -> AdaMerging:
        reference = self.ingredients.reference
        entropy = PredictionEntropy(
            reference.family,
            reference.config,
            make_merge_fn(self.experiment, self.space, self.ingredients),
            self.evaluator.materials,
            self.evaluator.tasks["search"],
            strategy.batch_size,
            strategy.diversity,
        )
        return strategy.bind(entropy)

    def _choose(self, archive: Archive) -> np.ndarray:
        """The finalist that is best on the validation split; without one, on the search split."""
        fitness = np.asarray(archive.fitness)
        finalists = np.asarray(archive.genotypes)[np.isfinite(fitness)]
        if not len(finalists):
            raise ValueError(
                "no candidate had a finite score, so that there is none to choose; see the "
                f"items in {self.directory / 'history.jsonl'}"
            )
        if "validation" not in self.evaluator.tasks or len(finalists) == 1:
            return finalists[0]
        scores = self.evaluator(finalists, "validation", self.interruption.check).fitness
        return finalists[int(np.nanargmax(scores)) if np.isfinite(scores).any() else 0]

    def _recipe(self, found: _Found) -> Recipe:
        decoded = jax.jit(self.space.decode)(found.genotype)
        return Recipe(
            operator=self.experiment.operator_target,
            arguments=self.experiment.operator_arguments | pinned(self.items),
            base=self.prepared.base_ingredient,
            sources=self.prepared.source_ingredients,
            segments=self.space.segments,
            coefficients={name: np.asarray(value) for name, value in decoded.items()},
            seed=self.experiment.seed,
            dtype=self.ingredients.dtype.name,
            reference=self.prepared.reference_name,
            vocabulary=self.ingredients.vocabulary,
            notes={
                "experiment": self.experiment.name,
                "source_names": list(self.space.sources),
                "evaluations": found.evaluations,
            },
        )

    def _compare(self, model: Model, found: _Found, others: dict[str, _Found]) -> list[Result]:
        """Every method on the best-held-out split there is, and the winner on the others."""
        splits = [s for s in ("test", "validation", "search") if s in self.evaluator.tasks]
        final = splits[0]
        costs = {EVOLVED: found, **others}
        apart = self._configured_apart()
        names: list[str] = []

        def models() -> Iterator[Params]:
            for name, params in self._contestants(model, others):
                names.append(name)
                yield params

        results: list[Result] = []
        for items, _ in self.evaluator.measure(models(), final):
            name = names[len(results)]
            if name in apart:
                items, _ = measure(apart[name], self.evaluator.tasks[final])
            cost = costs.get(name)
            spent = (cost.evaluations, cost.seconds) if cost else (0, 0.0)
            results.append(Result.of(name, final, items, *spent))
        for split in splits[1:]:
            for items, _ in self.evaluator.measure([model.params], split):
                cost = costs[EVOLVED]
                results.append(Result.of(EVOLVED, split, items, cost.evaluations, cost.seconds))
        return results

    def _configured_apart(self) -> dict[str, Model]:
        """The sources whose configuration is not the merge's: measured with their own."""
        reference = self.ingredients.reference
        apart = {}
        for name, source in zip(self.space.sources, self.ingredients.whole_sources(), strict=True):
            config = source.config
            if hasattr(config, "vocab_size"):  # their tables of tokens are aligned by now
                config = dataclasses.replace(config, vocab_size=reference.config.vocab_size)
            if config != reference.config:
                apart[name] = dataclasses.replace(reference, config=config, params=source.params)
        return apart

    def _contestants(self, model: Model, others: dict[str, _Found]) -> Iterator[tuple[str, Params]]:
        baselines, operator = self.experiment.baselines, self.experiment.operator
        if baselines.sources:
            if self.ingredients.base is not None:
                yield "base", self.ingredients.base.params
            wholes = (model.params for model in self.ingredients.whole_sources())
            yield from zip(self.space.sources, wholes, strict=True)
        if baselines.published:
            yield from published_merges(self.ingredients)
        for name, other in others.items():
            recipe = self._recipe(other)
            yield name, merge_recipe(recipe, operator, self.ingredients, self.evidence).params
        yield EVOLVED, model.params

    def _report(self, recipe: Recipe, results: list[Result]) -> None:
        plots = self.directory / "plots"
        plots.mkdir(exist_ok=True)
        task = self.experiment.task.name
        plot_fitness(read_history(self.directory / "history.jsonl"), plots / "fitness.png", task)
        plot_coefficients(
            recipe.coefficients, self.space.sources, recipe.segments, plots / "coefficients.png"
        )
        final = results[0].split
        shown = [result for result in results if result.split == final]
        title = f"{task}, {shown[0].items} items of the {final} split"
        self.console.print(results_table(shown, title))


def _by_own_score(strategy: AdaMerging) -> Callable[[Population], Evaluation]:
    """Candidates are as good as the strategy says, whatever the task's answers are."""

    def evaluate_fn(population: Population) -> Evaluation:
        began = time.perf_counter()
        items = strategy.score(population)
        seconds = (time.perf_counter() - began) / len(items)
        return Evaluation(items, np.full(len(items), seconds, np.float32))

    return evaluate_fn
