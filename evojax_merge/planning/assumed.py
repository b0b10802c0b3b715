"""Fitness tasks whose items are assumed, where there is no data, or no tokenizer to read it."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.config import build_task
from evojax_merge.config.fitness_settings import FitnessSettings, several_of
from evojax_merge.fitness.base import ACCURACY, Measure, Task
from evojax_merge.fitness.eyes import Eyes
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.fitness.text import TextTask
from evojax_merge.models.ability import Common
from evojax_merge.models.request import (
    Classify,
    ClassifyPictures,
    Generate,
    Head,
    Loglikelihood,
    Pixels,
    Request,
)
from evojax_merge.planning.assumed_drawings import drawings


@dataclasses.dataclass(frozen=True)
class Assumption:
    """What is assumed of items that are not there.

    Attributes:
        items: The number of items.
        prompt_tokens: The number of tokens of each prompt, or text that is scored.
        classes: The number of classes, where there are some to tell apart.
    """

    items: int = 128
    prompt_tokens: int = 256
    classes: int = 10

    def say(self, kind: str, reason: str) -> str:
        """A line that says what is assumed and why."""
        reads = kind in ("answers", "answers about pictures", "texts")
        each = f" of {self.prompt_tokens} tokens" if reads else ""
        return f"{reason}: {self.items} items{each} are assumed"


_KINDS = {
    "GenerationTask": "answers",
    "VisualQuestionTask": "answers about pictures",
    "PerplexityTask": "texts",
    "MultipleChoiceTask": "texts",
    "classification_task": "vectors",
    "image_classification_task": "pictures",
    "TextToImageTask": "drawings",
}
"""The kinds of tasks whose items can be assumed, by the last part of their factory's name."""


@dataclasses.dataclass
class AssumedTask:
    """A task of some kind whose items are assumed.

    Attributes:
        kind: What it is about, e.g. ``answers``.
        settings: The keys of the configuration of the task.
        assumption: What is assumed.
        notes: Where lines are put that say what was assumed.
        reason: Why.
    """

    kind: str
    settings: Mapping[str, Any]
    assumption: Assumption
    notes: list[str]
    reason: str
    name: str = "assumed"
    current_split: str = "search"

    @property
    def measure(self) -> Measure:
        return ACCURACY

    @property
    def writes_answers(self) -> bool:
        """Whether models write answers, which tasks beside this one may look at."""
        return self.kind.startswith("answers")

    @property
    def splits(self) -> tuple[str, ...]:
        return ("search",)

    def __len__(self) -> int:
        return self.assumption.items

    def on(self, split: str) -> "AssumedTask":
        """The same task. There is one split."""
        return dataclasses.replace(self, current_split=split)

    def bind(self, model: Any) -> "AssumedItems":
        """Make the shapes of the items for models like this one."""
        line = self.assumption.say(self.kind, self.reason)
        if line not in self.notes:
            self.notes.append(line)
        return AssumedItems(*self._asked(model), self.assumption.items)

    def _asked(self, model: Any) -> tuple[Request, tuple[Any, ...]]:
        items, seq = self.assumption.items, self.assumption.prompt_tokens
        given = {key: value for key, value in self.settings.items() if value is not None}
        whole = (_integers(items, seq), _integers(items))
        match self.kind:
            case "texts":
                target = _shape((items, seq), jnp.bool_)
                return Loglikelihood(), (*whole, target)
            case "answers":
                return _generate(given), whole
            case "answers about pictures":
                return self._seen(model, given)
            case "vectors":
                width = model.config.hidden_sizes[0]
                return Classify(), (_shape((items, width), jnp.float32),)
            case "pictures":
                return ClassifyPictures(), self._pictures(model)
            case _:
                return drawings(model, given, items)

    def _seen(self, model: Any, given: Mapping[str, Any]) -> tuple[Request, tuple[Any, ...]]:
        """Prompts with one picture each, seen once, whose features are those of all candidates."""
        items, seq = self.assumption.items, self.assumption.prompt_tokens
        eyes = Eyes.of(model, True, self.name)
        slots, vision = eyes.vision.positions, eyes.vision
        features = _shape((items, slots, vision.config.text.hidden_size), model.dtype)
        shifts = (_integers(items, slots, 3),) if vision.shifted else ()
        request = dataclasses.replace(_generate(given), image_token_id=vision.token_id)
        batch = (_integers(items, seq + slots), _integers(items), features, *shifts)
        return request, batch

    def _pictures(self, model: Any) -> tuple[Any, ...]:
        vision, items = model.config.vision, self.assumption.items
        if vision is None:
            raise ValueError(f"{self.name}: this task needs a model that sees; this one does not")
        size, channels = vision.image_size, vision.num_channels
        shape = (items, channels, size, size)
        numbers = _shape((channels,), jnp.float32)
        width = vision.projection_dim or vision.hidden_size
        head = Head(_shape((self.assumption.classes, width), jnp.float32))
        return (
            _shape(shape, jnp.uint8),
            Common(Pixels(numbers, numbers)),
            Common(head),
        )


class AssumedItems:
    """The shapes of items, which nobody can score.

    Attributes:
        request: What a model is to do.
        batches: One batch of shapes.
    """

    def __init__(self, request: Request, batch: tuple[Any, ...], items: int) -> None:
        self.request, self.batches, self._items = request, (batch,), items

    def __len__(self) -> int:
        return self._items

    def score(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Refuse."""
        raise ValueError("assumed items cannot be scored")

    def details(self, outputs: Sequence[np.ndarray], candidate: int) -> list[dict[str, Any]]:
        """Nothing, as there are no answers."""
        return []

    def take(self, rows: np.ndarray) -> "AssumedItems":
        """The same on fewer items."""

        def cut(leaf: Any) -> Any:
            full = leaf.shape[:1] == (self._items,)
            return _shape((len(rows), *leaf.shape[1:]), leaf.dtype) if full else leaf

        return AssumedItems(self.request, jax.tree.map(cut, self.batches[0]), len(rows))


class OrAssumed:
    """A task of texts that a model without a tokenizer is given assumed items of.

    Args:
        task: The task.
        otherwise: The task in its place.
    """

    def __init__(self, task: Any, otherwise: AssumedTask) -> None:
        self._task, self._otherwise = task, otherwise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def __len__(self) -> int:
        return len(self._task)

    def on(self, split: str) -> "OrAssumed":
        """The same task on another split."""
        otherwise = copy.copy(self._otherwise)
        return OrAssumed(self._task.on(split), otherwise)

    def bind(self, model: Any) -> Any:
        """Bind the task, or assume as many items."""
        if model.tokenizer is not None:
            return self._task.bind(model)
        known = dataclasses.replace(self._otherwise.assumption, items=len(self._task))
        reason = f"{model.directory.name} has no tokenizer"
        return dataclasses.replace(self._otherwise, assumption=known, reason=reason).bind(model)


def task_of(config: Any, assumption: Assumption, notes: list[str]) -> Any:
    """The fitness task of a configuration, or one of its kind whose items are assumed.

    Args:
        config: The configuration.
        assumption: What is assumed where there is no data.
        notes: Where lines are put that say what was assumed.

    Raises:
        ValueError: Something but the data is missing, or items of this kind cannot be assumed.
    """
    if (several := several_of(config)) is not None:
        tasks: dict[str, Task] = {
            name: task_of(own, assumption, notes) for name, own in several.items()
        }
        weights = config.fitness.get("weights")
        return SeveralTasks(tasks, None if weights is None else dict(weights))
    settings = FitnessSettings.of(config)
    kind = _KINDS.get(settings.factory)
    if kind is None or settings.missing - {"data"}:
        return build_task(config)  # which says what is wrong with it
    name = str(settings.values.get("name", "assumed"))
    reason = "fitness.data is not given"
    assumed = AssumedTask(kind, settings.values, assumption, notes, reason, name)
    if settings.missing:
        return assumed
    task = build_task(config)
    reads = isinstance(task, TextTask) and kind in ("answers", "texts")
    return OrAssumed(task, assumed) if reads else task


def _generate(given: Mapping[str, Any]) -> Generate:
    return Generate(
        max_new_tokens=given.get("max_new_tokens", 256),
        eos_ids=(2,),
        pad_id=0,
        slots=given.get("slots"),
        beams=given.get("beams", 1),
        repetition_penalty=float(given.get("repetition_penalty", 1.0)),
    )


def _integers(*shape: int) -> Any:
    return _shape(shape, jnp.int32)


def _shape(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)
