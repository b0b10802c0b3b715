"""Tasks of lm-evaluation-harness as fitness: its prompts and its metrics, and our engine."""

import copy
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from evojax_merge.documents.arguments import check_switch, check_text, check_whole
from evojax_merge.documents.nearest import nearest
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.harness.answers import BoundAnswers, Limits
from evojax_merge.fitness.harness.bound import BoundLikelihoods, bound_task
from evojax_merge.fitness.harness.documents import Documents, Wanted
from evojax_merge.fitness.harness.encoding import HarnessEncoder
from evojax_merge.fitness.harness.judging import Item, Judge
from evojax_merge.fitness.harness.loading import FEWSHOT_SEED, load_tasks
from evojax_merge.fitness.harness.metrics import ItemMetric, choose
from evojax_merge.fitness.harness.prompting import Prompting, build_requests, renderer
from evojax_merge.fitness.several import SeveralTasks

SPLITS = ("search", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Carrying:
    """How requests are made and carried out.

    Attributes:
        prompting: How prompts are made.
        limits: What bounds how they are carried out.
        max_length: The longest sequence; by default, the model's context.
    """

    prompting: Prompting
    limits: Limits
    max_length: int | None


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A task of the harness with its documents and its metric."""

    task: Any
    documents: Documents
    metric: ItemMetric

    @property
    def asks_greedy(self) -> bool:
        """Whether its results depend on whether greedy decoding would write what is scored."""
        kind = self.task.OUTPUT_TYPE
        own = callable(self.task.get_config("process_results"))
        return kind == "loglikelihood" or own or "exact_match" in self.task.aggregation()


class HarnessTask:
    """A task of the harness, or all tasks of a group, whose items are then counted alike.

    Attributes:
        name: What the harness calls it.
        current_split: The split whose items are measured.
        measure: What the results of the items are.
        reported_split: The split that stands for what the harness evaluates.
    """

    reported_split = "test"

    def __init__(self, name: str, leaves: Sequence[Leaf], carrying: Carrying) -> None:
        self.name, self._leaves, self._carrying = name, tuple(leaves), carrying
        self.measure: Measure = leaves[0].metric.measure
        different = next((leaf for leaf in leaves if leaf.metric.measure != self.measure), None)
        if different is not None:
            raise ValueError(
                f"{name}: {leaves[0].task.task_name} is measured by {self.measure.name} and "
                f"{different.task.task_name} by {different.metric.measure.name}; set "
                "fitness.metric to one that both have"
            )
        self.current_split = self.splits[0]
        self._requests: dict[tuple[int, str], list[list[Any]]] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that all tasks of the harness have documents for."""
        shares = [leaf.documents.shares for leaf in self._leaves]
        return tuple(split for split in SPLITS if all(split in own for own in shares))

    @property
    def repeated(self) -> int:
        """How many items of the current split are items of an earlier one too."""
        earlier = list(itertools.takewhile(lambda split: split != self.current_split, self.splits))
        count = 0
        for leaf in self._leaves:
            seen = {one for split in earlier for one in leaf.documents.contents(split)}
            count += sum(one in seen for one in leaf.documents.contents(self.current_split))
        return count

    def __len__(self) -> int:
        return sum(len(leaf.documents.shares[self.current_split].rows) for leaf in self._leaves)

    def on(self, split: str) -> "HarnessTask":
        """The same task on the items of another split.

        Raises:
            ValueError: There are no documents for that split.
        """
        if split not in SPLITS:
            known = ", ".join(SPLITS)
            raise ValueError(
                f"{self.name}: no split {split!r}; the splits are {known}{nearest(split, SPLITS)}"
            )
        if split not in self.splits:
            raise ValueError(
                f"{self.name}: has no documents for the {split} split, but those that lm-eval "
                f"evaluates; divide them, as fitness.split=[0.5,0.5], or name a split of its data "
                f"with fitness.{split}_split"
            )
        task = copy.copy(self)
        task.current_split = split
        return task

    def bind(self, model: Any) -> BoundAnswers | BoundLikelihoods:
        """Make the harness's requests of the items, and arrays of these for models like this one.

        Raises:
            ValueError: There is no tokenizer, or no chat template where one is asked for, or an
                item does not fit the model.
        """
        encoder = HarnessEncoder(model, self.name, self._carrying.max_length)
        items = []
        for number, leaf in enumerate(self._leaves):
            name, rows = leaf.documents.shares[self.current_split]
            requests = self._requests_of(number, name, encoder)
            judge = Judge(leaf.task, leaf.metric, [requests[row] for row in rows])
            items += [Item(judge, place) for place in range(len(rows))]
        greedy = any(leaf.asks_greedy for leaf in self._leaves)
        return bound_task(items, encoder, greedy, self._carrying.limits)

    def _requests_of(self, number: int, name: str, encoder: HarnessEncoder) -> list[list[Any]]:
        """The requests of a split of the data, which are kept where they are those of any model."""
        prompting, leaf = self._carrying.prompting, self._leaves[number]
        render = renderer(encoder.tokenizer, encoder.encoder.directory or self.name)
        if prompting.apply_chat_template:
            return build_requests(leaf.task, leaf.documents, name, prompting, render)
        if (number, name) not in self._requests:
            self._requests[number, name] = build_requests(
                leaf.task, leaf.documents, name, prompting, render
            )
        return self._requests[number, name]


def lm_eval_task(
    tasks: Sequence[str],
    *,
    include_path: str | None = None,
    metric: str | Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
    num_fewshot: int | None = None,
    fewshot_seed: int = FEWSHOT_SEED,
    search_split: str | None = None,
    validation_split: str | None = None,
    test_split: str | None = None,
    split: Sequence[float] | None = None,
    split_seed: int = 0,
    limit: int | None = None,
    apply_chat_template: bool = False,
    fewshot_as_multiturn: bool | None = None,
    system_instruction: str | None = None,
    generation_kwargs: Mapping[str, Any] | None = None,
    max_length: int | None = None,
    slots: int | None = None,
    buckets: int = 3,
    confirm_run_unsafe_code: bool = False,
) -> HarnessTask | SeveralTasks:
    """Make the fitness task that tasks of lm-evaluation-harness stand for.

    Args:
        tasks: Names of tasks, tags and groups of the harness. Of several each is an objective.
        include_path: A directory with tasks of the user's own. Code that they name is run.
        metric: The metric that items are measured by, as ``METRIC`` or ``METRIC,FILTER``, or one
            for each task by name; by default, the first metric of the task, after its first filter.
        weights: The weight of each task in the fitness of a search for a single number.
        num_fewshot: How many worked examples stand before an item; by default, what the task says.
        fewshot_seed: The seed of their choice.
        search_split: The split of the task's data that a search goes by; by default, that for
            training, or that for validation where there is another for the test.
        validation_split: That which chooses among snapshots of a search; by default, none.
        test_split: That of the final scores; by default, what the harness evaluates.
        split: Shares of the documents of one split for these instead, of ``search_split`` or else
            of what the harness evaluates.
        split_seed: The seed of that division.
        limit: How many documents of each split are used at most, the first ones.
        apply_chat_template: Whether prompts are conversations by the model's chat template.
        fewshot_as_multiturn: Whether worked examples are turns of their own in these; by default,
            they are, where there are conversations.
        system_instruction: What stands before everything.
        generation_kwargs: What is changed of how answers are generated.
        max_length: The longest sequence in tokens; by default, the model's context.
        slots: How many answers a model writes at a time; by default, all, or what memory holds.
        buckets: The largest number of padded lengths, each a compiled program.
        confirm_run_unsafe_code: Whether tasks may run the code that models write.

    Raises:
        ValueError: The harness is not installed, a task or its data cannot be loaded, or an
            argument makes no sense.
    """
    names = _checked_names(tasks)
    for key, switch in (
        ("apply_chat_template", apply_chat_template),
        ("confirm_run_unsafe_code", confirm_run_unsafe_code),
    ):
        check_switch(f"fitness.{key}", switch)
    for key, number, least in (
        ("num_fewshot", num_fewshot, 0),
        ("limit", limit, 1),
        ("max_length", max_length, 2),
        ("slots", slots, 1),
        ("buckets", buckets, 1),
        ("fewshot_seed", fewshot_seed, 0),
    ):
        if number is not None:
            check_whole(f"fitness.{key}", number, least)
    if fewshot_as_multiturn and not apply_chat_template:
        raise ValueError(
            "fitness.fewshot_as_multiturn is true, and there are no turns; set "
            "fitness.apply_chat_template=true, too"
        )
    multiturn = apply_chat_template if fewshot_as_multiturn is None else fewshot_as_multiturn
    loaded = load_tasks(
        names, include_path, num_fewshot, generation_kwargs, confirm_run_unsafe_code
    )
    chosen = _metrics(metric, list(loaded))
    named = {"search": search_split, "validation": validation_split, "test": test_split}
    wanted = Wanted(named, split, split_seed, limit)
    carrying = Carrying(
        Prompting(apply_chat_template, multiturn, system_instruction, fewshot_seed),
        Limits(slots, buckets),
        max_length,
    )
    found: dict[str, Any] = {}
    for name, leaves in loaded.items():
        parts = [
            Leaf(task, Documents(task, wanted), choose(task, chosen.get(name))) for task in leaves
        ]
        found[name] = HarnessTask(name, parts, carrying)
    if len(found) == 1:
        if weights:
            raise ValueError("fitness.weights: there is one task; leave them out")
        return next(iter(found.values()))
    searchable = all("search" in task.splits for task in found.values())
    return SeveralTasks(found, weights, "search" if searchable else "test")


def _checked_names(tasks: Any) -> list[str]:
    if not isinstance(tasks, list | tuple) or not tasks:
        raise ValueError(
            f"fitness.tasks is {tasks!r}; give a list of names of lm-eval's tasks, e.g. "
            "[gsm8k,arc_easy]"
        )
    names = [check_text("an entry of fitness.tasks", name, empty=False) for name in tasks]
    if len(set(names)) < len(names):
        raise ValueError(f"fitness.tasks names a task twice: {', '.join(names)}")
    return names


def _metrics(metric: Any, names: Sequence[str]) -> dict[str, str]:
    """The metric of each task for which one is given."""
    if metric is None:
        return {}
    if isinstance(metric, Mapping):
        for name, one in metric.items():
            if name not in names:
                raise ValueError(
                    f"fitness.metric: there is no task {name!r} (tasks: {', '.join(names)})"
                    f"{nearest(name, names)}"
                )
            check_text(f"fitness.metric.{name}", one, empty=False)
        return {str(name): str(one) for name, one in metric.items()}
    return dict.fromkeys(names, check_text("fitness.metric", metric, empty=False))
