"""Tasks of lm-evaluation-harness by their names: single ones, those of a tag, and groups."""

import contextlib
import functools
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evojax_merge.documents.files import at_home
from evojax_merge.documents.nearest import nearest

INSTALL = "pip install 'evojax-merge[lm-eval]'"

FEWSHOT_SEED = 1234
"""What the harness seeds the choice of worked examples with, by default."""


def require() -> None:
    """Raise ValueError if the harness is not installed."""
    try:
        import lm_eval  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"fitness=lm_eval needs lm-evaluation-harness: {INSTALL} ({error})"
        ) from None


def load_tasks(
    names: Sequence[str],
    include_path: str | None,
    num_fewshot: int | None,
    generation_kwargs: Mapping[str, Any] | None,
    unsafe: bool,
) -> dict[str, list[Any]]:
    """Load tasks as the harness's own command does.

    Args:
        names: The names of tasks, tags or groups. A tag stands for its tasks, each of which has a
            name of its own in what is returned. A group stands for all of its tasks together.
        include_path: A directory with further tasks, which come before the harness's own.
        num_fewshot: How many worked examples stand before each item. Tasks that are defined to have
            none have none.
        generation_kwargs: What is changed of how answers are generated.
        unsafe: Whether tasks may run what models write.

    Returns:
        The tasks of the harness, by name. There is more than one where it is that of a group.

    Raises:
        ValueError: The harness is not installed, it has no such task, or the task or its data
            cannot be loaded, is not of text alone, or would run what models write.
    """
    require()
    manager = _manager_of(names, include_path)
    found: dict[str, list[Any]] = {}
    for name in names:
        if name not in manager.all_tasks:
            where = "" if include_path is None else f" and in {include_path}"
            raise ValueError(
                f"fitness.tasks: lm-eval has no task {name!r} among its own{where}"
                f"{nearest(name, manager.all_tasks)}; `lm_eval ls tasks` lists them"
            )
        with seeded(), quiet(), _explained(name):
            loaded = manager.load([name])
        if name in manager.all_groups:
            _check_weights(name, loaded.get("groups", {}))
            found[name] = list(loaded["tasks"].values())
        else:
            found |= {leaf: [task] for leaf, task in loaded["tasks"].items()}
    for leaves in found.values():
        for task in leaves:
            _check(task, unsafe)
            with quiet():
                _adjust(task, num_fewshot, generation_kwargs)
    return found


def _manager_of(names: Sequence[str], include_path: str | None) -> Any:
    """The index of the user's own tasks where that suffices, as that of all takes seconds."""
    if include_path is not None:
        directory = str(at_home(include_path))
        if not Path(directory).is_dir():
            raise ValueError(f"fitness.include_path {include_path}: no such directory")
        own = _manager(directory, False)
        if all(name in own.all_subtasks or name in own.all_tags for name in names):
            return own
        return _manager(directory, True)
    return _manager(None, True)


@functools.lru_cache(maxsize=4)
def _manager(directory: str | None, defaults: bool) -> Any:
    from lm_eval.tasks import TaskManager

    with quiet():
        return TaskManager(include_path=directory, include_defaults=defaults)


def _check_weights(name: str, groups: Mapping[str, Any]) -> None:
    for group in groups.values():
        for metric in group.aggregate_metric_list or ():
            if not metric.weight_by_size:
                raise ValueError(
                    f"{name}: this group counts its tasks alike, whatever their size, and here the "
                    "items of a group count alike; name its tasks one by one in fitness.tasks"
                )


def _check(task: Any, unsafe: bool) -> None:
    if getattr(task, "MULTIMODAL", False):
        raise ValueError(f"{task.task_name}: this task of lm-eval has pictures or sound, not text")
    if getattr(task, "UNSAFE_CODE", False) and not unsafe:
        raise ValueError(
            f"{task.task_name}: this task runs the code that models write; if you want that on "
            "this machine, say so with fitness.confirm_run_unsafe_code=true"
        )


def _adjust(task: Any, num_fewshot: int | None, kwargs: Mapping[str, Any] | None) -> None:
    """Change what the harness's command changes, by the same rules."""
    if kwargs and task.get_config("output_type") == "generate_until":
        task.set_config(key="generation_kwargs", value=dict(kwargs), update=True)
    defined = task.get_config("num_fewshot")
    if num_fewshot is not None and defined != 0:
        task.set_config(key="num_fewshot", value=num_fewshot)
    elif defined is None:
        task.set_config(key="num_fewshot", value=0)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A block in which the harness logs nothing below an error."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """A block that begins with the seeds of the harness's command, and leaves none of its own."""
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(0)
    np.random.seed(1234)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """A block in which whatever the harness or a task's own code raises becomes one line."""
    try:
        yield
    except Exception as error:
        first = (str(error).strip() or "no reason given").splitlines()[0]
        raise ValueError(
            f"{name}: lm-eval cannot load this task or its data ({type(error).__name__}: {first}); "
            "data that is not on this machine is fetched from the hub, and without a network must "
            "have been fetched before"
        ) from error
