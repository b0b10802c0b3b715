"""Recipes of pipelines are carried out from file to file, in memory for pieces of few tensors.

Four SDXL of float16 are 20 GB, and most computers have less memory. Numbers are those of
`evojax_merge.recipes.build.merge_recipe`, which computes the same expression for whole tensors.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from evojax_merge.checkpoints import Checkpoint, resolve
from evojax_merge.checkpoints.pipeline_exporter import pipeline_files
from evojax_merge.checkpoints.pipelines import is_pipeline
from evojax_merge.checkpoints.tensor_files import MAX_SHARD_SIZE, Piece
from evojax_merge.exchange.application import merge_jobs
from evojax_merge.exchange.equivalents import OWN, express
from evojax_merge.exchange.methods import METHODS, Static
from evojax_merge.exchange.plan import Job, Origin, Plan
from evojax_merge.exchange.unchanged import check_task_vectors
from evojax_merge.exchange.writable import reference
from evojax_merge.models.segments import LeafCoefficients
from evojax_merge.recipes.build import leaf_coefficients
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.execution import Terms, prepared_for
from evojax_merge.sources import ingredients
from evojax_merge.sources.baked import split_baked

_STREAMED = ("linear", "task_arithmetic")
"""The operators that need no more than a piece of each tensor at a time."""


def apply_to_files(
    recipe: Recipe,
    target: str | Path,
    terms: Terms,
    overwrite: bool = False,
    describe: Callable[[Checkpoint], Mapping[str, str]] = lambda carrier: {},
) -> Path | None:
    """Carry out a recipe from file to file, or return None where it is none for that.

    It is one where the operator is a weighted sum, and what is merged are parts of pipelines that
    every source has in its files.

    Args:
        recipe: The recipe.
        target: A directory, or ``NAME.safetensors`` for one file.
        terms: The terms on which the recipe is carried out.
        overwrite: Whether to replace what is there.
        describe: The function that gives the texts of further files, by their names, from the
            pipeline whose configuration the merge carries.

    Raises:
        RecipeError: The recipe does not fit its models, or its checkpoints have changed since.
        CheckpointError: A checkpoint is missing or damaged, or a tensor holds NaN or infinity.
    """
    if recipe.operator.removeprefix(OWN) not in _STREAMED or not _is_of_pipelines(recipe):
        return None
    operator, prepared = prepared_for(recipe, terms)
    models = _models(prepared)
    carrier = prepared.reference.carrier
    if models is None or carrier is None or not carrier.family.pipeline:
        return None
    plan = _plan(recipe, prepared, models, leaf_coefficients(recipe, operator, prepared.reference))
    check_task_vectors(plan)
    pieces = [Piece(job.name, job.slot.shape, job.dtype) for job in plan.jobs]
    with pipeline_files(
        carrier, pieces, prepared.dtype.name, target, overwrite, MAX_SHARD_SIZE, describe(carrier)
    ) as writer:
        merge_jobs(plan, writer.write, recipe.seed)
    return Path(target).expanduser().absolute()


def _is_of_pipelines(recipe: Recipe) -> bool:
    """Tell whether parts of pipelines are merged, into none of which a LoRA is baked."""
    if recipe.parts is None or any(split_baked(source.path) for source in recipe.sources):
        return False
    carrier = resolve(reference(recipe).path)
    return carrier.is_file() or is_pipeline(carrier)


def _models(prepared: ingredients.Plan) -> tuple[Checkpoint, ...] | None:
    """Return the base, if there is one, and the sources, where their files hold all of them."""
    models = [one for one in (prepared.base, *prepared.sources) if one is not None]
    found = [one for one in models if isinstance(one, Checkpoint)]
    if len(found) < len(models) or any(one.baked or one.unchanged for one in found):
        return None
    return tuple(found)


def _plan(
    recipe: Recipe,
    prepared: ingredients.Plan,
    models: tuple[Checkpoint, ...],
    coefficients: LeafCoefficients,
) -> Plan:
    expression = express(recipe.operator, recipe.arguments)
    parameters = dict(expression.parameters)
    lam = float(parameters.pop("lambda", 1.0))
    method = METHODS[expression.method]
    names = {one.name for one in method.parameters if one.role == "static"}
    static: Static = tuple((name, parameters[name]) for name in sorted(names & parameters.keys()))
    based = expression.base is not None and prepared.base is not None
    first = 0 if prepared.base is None else 1
    held = [{(s.path, s.layer): name for name, s in one.slots.items()} for one in models]
    values = jax.device_get(coefficients)
    jobs = []
    for name, slot in prepared.reference.slots.items():
        origins = [Origin(n, own[slot.path, slot.layer]) for n, own in enumerate(held)]
        jobs.append(
            Job(
                name=name,
                slot=slot,
                dtype=prepared.dtype,
                base=origins[0] if based else None,
                sources=tuple(origins[first:]),
                static=static,
                lam=lam,
                coefficients=_numbers(values[slot.path], slot.layer),
                in_vocabulary=False,
            )
        )
    hf_config = prepared.reference.hf_config
    return Plan(method, models, 0, tuple(jobs), hf_config, None, None, None, {})


def _numbers(values: dict[str, Any], layer: int | None) -> dict[str, Any]:
    """Return the coefficients of a tensor: those of its leaf, or of its layer of it."""
    return {
        name: np.asarray(value if layer is None else value[..., layer], np.float32)
        for name, value in values.items()
    }
