"""Recipes of the weights kind, whose weights lie in a file beside them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from evojax_merge.checkpoints import Checkpoint, Model, take_parts
from evojax_merge.documents.errors import shown
from evojax_merge.documents.files import sha256, write_whole
from evojax_merge.documents.schema import Closed, read, whole
from evojax_merge.documents.terminal import printable
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Params
from evojax_merge.recipes.coefficients import (
    FORMAT,
    Ingredient,
    IngredientText,
    Notes,
    PartNames,
    RecipeError,
    dump,
)

KIND = "weights"


@dataclasses.dataclass(frozen=True)
class WeightsRecipe:
    """A model that nothing but its weights describes, found by a search in the space of models.

    Attributes:
        model: The checkpoint whose configuration and tokenizer the model carries.
        params: The parameters of the model.
        notes: Where the model comes from.
        parts: The parts of the checkpoint that the parameters are, where it consists of parts.
    """

    model: Ingredient
    params: Params
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    parts: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return printable(f"WeightsRecipe(weights evolved for {Path(self.model.path).name})")

    def save(self, path: str | Path) -> None:
        """Write the YAML, and the weights beside it as ``NAME.safetensors``."""
        path = Path(path)
        leaves = {name: np.asarray(leaf) for name, leaf in flatten(self.params).items()}
        file = path.with_suffix(".safetensors")
        write_whole(file, lambda partial: save_file(leaves, partial))
        tree: dict[str, Any] = {
            "evojax_merge": FORMAT,
            "kind": KIND,
            "model": dataclasses.asdict(self.model),
            "weights": file.name,
            "sha256": sha256(file),
        }
        if self.parts is not None:
            tree["parts"] = list(self.parts)
        if self.notes:
            tree["notes"] = dict(self.notes)
        path.write_text(dump(tree), encoding="utf-8")

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], path: Path) -> Self:
        """Read what `save` wrote.

        Args:
            tree: The YAML, parsed.
            path: The file of the YAML, which the weights are beside.

        Raises:
            RecipeError: Entries are missing, unknown or malformed; or the weights are not there, or
                are not those that the recipe was written with.
        """
        given = read(_WeightsText, tree, str(path), RecipeError)
        name = given.weights
        if Path(name).name != name or "\0" in name:
            raise RecipeError(
                f"{path}: weights is {shown(name)}; give the name of a file beside the recipe"
            )
        file = path.parent / name
        if not file.is_file():
            raise RecipeError(f"{path}: its weights, {file}, are missing; keep both files together")
        if sha256(file) != given.sha256:
            raise RecipeError(f"{file}: is not what {path.name} was written with (sha256 differs)")
        try:
            params = unflatten(load_file(file))
        except (SafetensorError, ValueError) as error:
            raise RecipeError(f"{file}: cannot be read ({error})") from error
        parts = None if given.parts is None else tuple(given.parts)
        return cls(given.model.ingredient.at(path.parent), params, dict(given.notes or {}), parts)

    def build(self, reference: Checkpoint) -> Model:
        """The model of the recipe.

        Args:
            reference: The checkpoint that ``model`` names.

        Raises:
            RecipeError: The weights do not fit the checkpoint's configuration.
            CheckpointError: The checkpoint has no such parts.
        """
        if self.parts is not None:
            reference = take_parts(reference, self.parts)
        layout = reference.family.layout(reference.config)
        problems = list(layout.misfits(flatten(self.params)))
        if problems:
            raise RecipeError(
                f"the weights do not fit {reference.directory}:\n  " + "\n  ".join(problems)
            )
        return Model(
            family=reference.family,
            config=reference.config,
            hf_config=reference.hf_config,
            params=self.params,
            tokenizer=reference.tokenizer,
            directory=reference.directory,
            dtype=np.dtype(np.float32),
            carrier=reference.carrier,
            parts=reference.parts,
        )


class _WeightsText(Closed):
    """A recipe of the weights kind as it is written."""

    evojax_merge: Annotated[int, whole(1)]
    kind: str
    model: IngredientText
    weights: str
    sha256: str
    parts: PartNames | None = None
    notes: Notes | None = None
