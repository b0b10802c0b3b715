"""How searches for merged parameters are set up and how their winners are compared."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from evojax_merge.checkpoints import Model
from evojax_merge.checkpoints.alignment import dropped_tokens, vocabulary_of
from evojax_merge.config.experiment import Experiment, ModelChoice
from evojax_merge.fitness.drawing.showing import Drawn, ShownDrawings, flawed
from evojax_merge.measuring.evaluator import Evaluator
from evojax_merge.measuring.measure import measure
from evojax_merge.measuring.mesh import split_over
from evojax_merge.models import Layout
from evojax_merge.operators import check_sources
from evojax_merge.params.types import Float, Params
from evojax_merge.runs.merging import Merging
from evojax_merge.runs.problem import EVOLVED, GALLERY, Found, Measured, Problem, Scored
from evojax_merge.runs.setup import Setup
from evojax_merge.sources.evidence import FOLDER, collect, prepare
from evojax_merge.sources.ingredients import load_ingredients
from evojax_merge.sources.plan import Plan, plan
from evojax_merge.sources.pool import check_pool
from evojax_merge.spaces.joint import MERGED

_TOKENS = 8
"""How many tokens a message names at most."""


@dataclasses.dataclass(frozen=True)
class MergedProblem(Problem):
    """Candidates with parameters of their own, run by one program with the models they come from.

    Attributes:
        merging: What is merged.
        evaluator: What merges and measures candidates.
    """

    merging: Merging
    evaluator: Evaluator

    def compare(self, model: Model | None, found: Mapping[str, Found], split: str) -> Scored:
        """The results of sources, published merges and winners of searches, by one program."""
        assert model is not None
        task = self.evaluator.tasks[split]
        for name, items, outputs in self._measure(self._contestants(model, found), split):
            details = functools.partial(task.details, outputs, 0)
            yield Measured(name, items, flawed(task, outputs), details)

    def measure(self, model: Model | None, found: Found, split: str) -> Float[np.ndarray, " items"]:
        """The results of the merged model."""
        del found
        assert model is not None
        (measured,) = self.evaluator.measure([model.params], split)
        return measured[0]

    def measure_sources(self, split: str) -> Float[np.ndarray, "sources items"]:
        """The results of each source."""
        sources = self.merging.whole_sources().items()
        named = ((name, source.params) for name, source in sources)
        return np.stack([items for _, items, _ in self._measure(named, split)])

    def drawn(
        self, model: Model | None, found: Mapping[str, Found]
    ) -> Iterator[tuple[str, list[Drawn]]]:
        """The pictures of sources, published merges and winners of searches, by one program."""
        shown = self.evaluator.tasks.get(GALLERY)
        if isinstance(shown, ShownDrawings) and model is not None:
            for name, _, outputs in self._measure(self._contestants(model, found), GALLERY):
                yield name, shown.pictures(outputs)

    def _measure(
        self, named: Iterator[tuple[str, Params]], split: str
    ) -> Iterator[tuple[str, Float[np.ndarray, " items"], list[np.ndarray]]]:
        """The results of models by name, and what the task's programs gave for each batch."""
        apart = self._configured_apart()
        names: list[str] = []

        def models() -> Iterator[Params]:
            for name, params in named:
                names.append(name)
                yield params

        scored = 0
        for items, outputs in self.evaluator.measure(models(), split):
            name, scored = names[scored], scored + 1
            if name in apart:
                items, outputs = measure(apart[name], self.evaluator.tasks[split])
            yield name, items, outputs

    def _configured_apart(self) -> dict[str, Model]:
        """The sources measured with their own configuration, as it is not the merge's."""
        reference = self.merging.ingredients.reference
        apart = {}
        for name, source in self.merging.whole_sources().items():
            config = source.config
            rows = vocabulary_of(reference).rows
            if rows:  # their tables of tokens are aligned by now
                config = source.family.with_vocabulary(config, rows)
            if config != reference.config:
                apart[name] = dataclasses.replace(reference, config=config, params=source.params)
        return apart

    def _contestants(
        self, model: Model, found: Mapping[str, Found]
    ) -> Iterator[tuple[str, Params]]:
        baselines = self.merging.experiment.baselines
        if baselines.sources:
            if self.merging.ingredients.base is not None:
                yield "base", self.merging.ingredients.base.params
            for name, source in self.merging.whole_sources().items():
                yield name, source.params
        if baselines.published:
            yield from self.merging.published()
        for name, other in found.items():
            if name != EVOLVED:
                yield name, self.build(self.recipe(other)).params
        yield EVOLVED, model.params


class MergingSetup(Setup):
    """The set-up of experiments that merge parameters."""

    @classmethod
    def prepared_for(cls, experiment: Experiment) -> "Setup":
        choice, operator = experiment.model, experiment.operator
        check_sources(operator, len(choice.sources), choice.base is not None)
        prepared = plan(
            choice.base,
            choice.sources,
            choice.reference,
            choice.dtype,
            choice.parts,
            choice.carriers,
            experiment.described,
        )
        _check_carrier(choice, prepared)
        setup = cls(experiment, prepared)
        setup._arrange()
        setup._items = prepare(operator, prepared.reference, len(choice.sources))
        return setup

    @property
    def layout(self) -> Layout:
        """The layout of the merge."""
        reference = self.prepared.reference
        return reference.family.layout(reference.config)

    @abc.abstractmethod
    def _arrange(self) -> None:
        """Make the stages."""

    def load(self, directory: Path, tell: Callable[[str], None]) -> None:
        experiment = self.experiment
        prepared, choice = self.prepared, experiment.model
        models = len(choice.sources) + (choice.base is not None) + 1  # and a candidate
        self._mesh = self.mesh_for([prepared.reference] * models, prepared.dtype)
        self._ingredients = load_ingredients(prepared, split_over(self._mesh))
        names = experiment.model.source_names
        for line in self._dropped(names):
            tell(line)
        self._ingredients.check_task_vectors(experiment.operator, names)
        self._evidence = collect(
            experiment.operator,
            self._items,
            self._ingredients.whole_sources(),
            names,
            directory / FOLDER,
            tell,
        )

    def _dropped(self, names: Sequence[str]) -> Iterator[str]:
        """A line for each source that has tokens of its own, which the merge lacks."""
        assert self._ingredients is not None
        accounts = self._ingredients.vocabulary or {}
        reference = self.prepared.reference
        for name, source in zip(names, self.prepared.wholes, strict=True):
            if not accounts.get(source.directory.name, {}).get("dropped"):
                continue
            tokens = dropped_tokens(vocabulary_of(reference), vocabulary_of(source))
            shown = ", ".join(tokens[:_TOKENS]) + ", …" * (len(tokens) > _TOKENS)
            yield (
                f"{name}: {len(tokens)} of its tokens are dropped, since "
                f"{reference.directory.name} has no rows for them ({shown}); "
                f"model.tokenizer={name} keeps them, and the merge then has that tokenizer"
            )

    def check_pool(self, names: Sequence[str]) -> None:
        """Raise if the layers of a pool, the merge's among them, cannot follow one another."""
        bodies = dict(zip(self.experiment.model.source_names, self.prepared.wholes, strict=True))
        bodies[MERGED] = self.prepared.reference
        check_pool(names, [bodies[name] for name in names])

    def loaded(self) -> tuple[Merging, Mesh]:
        """What is merged and on which devices; the weights must be loaded by then."""
        assert self._ingredients is not None
        assert self._mesh is not None
        merging = Merging(
            self.experiment, self.prepared, self._ingredients, self._items, self._evidence
        )
        return merging, self._mesh


def _check_carrier(choice: ModelChoice, prepared: Plan) -> None:
    """Check that the carrier that is asked for carries something.

    Raises:
        ValueError: It has no other parts than those that are merged.
    """
    if choice.carrier is None:
        return
    if prepared.reference.carrier is None:
        raise ValueError(
            f"model.carrier is {choice.carrier}, and none of these models consists of parts; leave "
            "it out. Whose tokenizer the merge has is said by model.tokenizer"
        )
    if prepared.reference_name != choice.reference:
        raise ValueError(
            f"model.carrier is {choice.carrier}, which has no other parts than the merged ones; "
            f"leave it out, and {prepared.reference.directory} is taken"
        )


def routable(prepared: Plan, layout: Layout) -> Layout:
    """The layout of models whose layers can be routed.

    Raises:
        ValueError: The models have no layers.
    """
    if not layout.depth():
        raise ValueError(
            f"{prepared.reference.directory}: is a {prepared.reference.family.name}; layers can be "
            "routed in decoders only"
        )
    return layout
