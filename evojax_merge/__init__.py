"""Evolutionary model merging in JAX.

    import evojax_merge as em

    run = em.evolve(["model.base=BASE", "model.sources=[DIR,DIR]", "fitness.data=items.jsonl"])
    run.result, run.recipe, run.history

evolve(overrides, directory)      search for the best merge, and leave a run in the directory
dry_run(overrides)                measure one candidate, and say what the whole run would take
resume(directory)                 go on with an interrupted run
read_run(directory)               what a finished run left
merge(recipe)                     the model of a recipe
merge("ties", sources, base, weights=[0.5, 0.3])  a merge at given coefficients
apply(file, directory)            write the model of a recipe or of a mergekit YAML
load(directory)                   a checkpoint as a model
export(model, directory)          write a model as a checkpoint of Hugging Face
evaluate(model, task)             measure a model, item by item
compare(evaluations)              how models differ on the same items
push(directory, "OWNER/NAME")     upload an export to the Hugging Face hub
draw(model, prompts)              pictures by a model that draws
to_mergekit(recipe)               a recipe as a YAML of mergekit

`evojax_merge.operators` merges trees of arrays, and `evojax_merge.fitness` has the tasks. The pages
in docs/ say more; docs/python.md is about this module.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evojax_merge.api import (
        Evaluation,
        Model,
        Recipe,
        apply,
        compare,
        draw,
        dry_run,
        evaluate,
        evolve,
        export,
        load,
        merge,
        push,
        resume,
        to_mergekit,
    )
    from evojax_merge.runs.left import Run, read_run

__version__ = "0.1.0"

__all__ = [
    "Evaluation",
    "Model",
    "Recipe",
    "Run",
    "__version__",
    "apply",
    "compare",
    "draw",
    "dry_run",
    "evaluate",
    "evolve",
    "export",
    "load",
    "merge",
    "push",
    "read_run",
    "resume",
    "to_mergekit",
]

_OF_RUNS = ("Run", "read_run")


def __getattr__(name: str) -> Any:
    """Import functions when one is first asked for, since a search needs what a merge does not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _OF_RUNS:
        from evojax_merge.runs import left

        return getattr(left, name)
    from evojax_merge import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
