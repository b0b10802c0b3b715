"""Checks that mergekit knows the models of a recipe, and the parts that its segments name."""

from pathlib import Path

from evojax_merge.checkpoints import is_adapter_directory, load_config
from evojax_merge.checkpoints.directory import read_json
from evojax_merge.checkpoints.pipelines import is_pipeline
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.models import COMMON_GROUPS, family_of
from evojax_merge.models.family import DECODER
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.sources.reference import Ingredient


def reference(recipe: Recipe) -> Ingredient:
    """Return the checkpoint whose tokenizer and configuration the merge carries."""
    if recipe.reference == "base" and recipe.base is not None:
        return recipe.base
    return recipe.sources[0 if recipe.reference == "base" else int(recipe.reference)]


def check_models(recipe: Recipe) -> None:
    """Check that the checkpoints that are here are models that mergekit merges.

    Raises:
        ExchangeError: A checkpoint is a LoRA adapter, which a file for both programs cannot name,
            or is of a family that mergekit does not know; or parts of models are merged.
        CheckpointError: A configuration cannot be read.
    """
    for ingredient in (recipe.base, *recipe.sources):
        if ingredient is None or not (directory := Path(ingredient.path).expanduser()).is_dir():
            continue
        if is_pipeline(directory):
            continue  # whose parts are merged
        if is_adapter_directory(directory):
            raise ExchangeError(
                f"{ingredient.path} is a LoRA adapter, and files for mergekit are written of whole "
                "models alone: merge it into its model first, by a recipe of task_arithmetic with "
                "weight 1"
            )
        family = family_of(read_json(directory / "config.json"))
        if family is not DECODER:
            raise ExchangeError(
                f"{ingredient.path} is of the family {family.name}, for which no file of mergekit "
                "is written; "
                "use the recipe itself (evojax-merge apply)"
            )
    if recipe.parts is not None:
        raise ExchangeError(
            f"the recipe merges parts of models ({', '.join(recipe.parts)}), for which no file of "
            "mergekit is written; use the recipe itself (evojax-merge apply)"
        )


def check_parts(recipe: Recipe) -> None:
    """Check that a part of leaves' paths in a segment is the same part of tensors' names.

    Raises:
        ExchangeError: A filter would not match the tensors of the leaves.
        CheckpointError: There are such parts, and the reference cannot be opened.
    """
    parts = {part for s in recipe.segments for part in s.groups if part not in COMMON_GROUPS}
    if not parts:
        return
    checkpoint = load_config(reference(recipe).path)
    leaves = checkpoint.family.layout(checkpoint.config).leaves
    names = {path: leaf.tensor_of(0) for path, leaf in leaves.items()}
    for part in sorted(parts):
        apart = [n for p, n in names.items() if (part in p) != (part in n)]
        if apart:
            raise ExchangeError(
                f"the part {part} of segments' groups cannot be a filter of mergekit: it is not "
                f"the same part of the tensors' names, e.g. of {apart[0]}"
            )


def tokenizer_source(recipe: Recipe, default: Ingredient) -> Ingredient | None:
    """Return the source whose tokenizer the recipe names, where mergekit takes another.

    Args:
        recipe: The recipe.
        default: The checkpoint whose tokenizer and configuration mergekit takes.

    Raises:
        ExchangeError: The source has another configuration, which mergekit would not take.
        CheckpointError: One of the two checkpoints cannot be opened.
    """
    wanted = reference(recipe)
    if recipe.reference == "base" or wanted == default:
        return None
    own, other = load_config(wanted.path), load_config(default.path)
    if own.family.hf_fields(own.config) != other.family.hf_fields(other.config) or (
        own.config != other.config
    ):
        raise ExchangeError(
            f"the recipe takes the configuration of {wanted.path}, and mergekit that of "
            f"{default.path}, which differs"
        )
    return None if own.tokenizer is None else wanted
