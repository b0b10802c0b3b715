"""Recipes of the data-flow kind, of the models of a pool and the path through their layers."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np

from evojax_merge.documents.errors import named, shown
from evojax_merge.documents.schema import Closed, checked, length, read, whole
from evojax_merge.documents.terminal import printable
from evojax_merge.models.decoder.path import Path, make_path
from evojax_merge.recipes.coefficients import (
    FORMAT,
    Ingredient,
    IngredientText,
    Notes,
    Recipe,
    RecipeError,
    check_dtype,
    dump,
    read_tree,
)
from evojax_merge.recipes.weights import KIND as WEIGHTS
from evojax_merge.recipes.weights import WeightsRecipe
from evojax_merge.spaces.dataflow import Semantics

KIND = "dataflow"

SMALLEST, LARGEST = float(np.finfo(np.float32).smallest_subnormal), float(np.finfo(np.float32).max)
"""The smallest and the largest size of a scale."""

_MOST_MODELS = 512
_MOST_HOPS = 10_000


class Hop(NamedTuple):
    """A layer of a model, and what the hidden state is multiplied by on entering it."""

    model: str
    layer: int
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class PathRecipe:
    """What a data-flow merge is made of.

    Attributes:
        pool: The models by name, in order; each is a checkpoint or the recipe of a merge.
        skeleton: The model that gives embedding, final norm, head and tokenizer.
        hops: The path; a file holds each hop as, e.g., ``[math, 12, 0.5]``.
        scaling: What a scale multiplies: with ``stream``, all of the residual stream; with
            ``branch``, what the MLP of the hop before added to it.
        dtype: The type of the merged parameters; by default, that of the skeleton.
        base: The model that the pool's LoRA adapters were trained on.
        notes: Where the recipe comes from, which does not change the merge.
    """

    pool: dict[str, Ingredient | Recipe]
    skeleton: str
    hops: tuple[Hop, ...]
    scaling: Semantics = "stream"
    dtype: str | None = None
    base: Ingredient | None = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        names = ", ".join(self.pool)
        return printable(f"PathRecipe({len(self.hops)} hops through layers of {names})")

    def path(self, layers: Mapping[str, int]) -> Path:
        """The path through the pool.

        Args:
            layers: The number of layers of each model of the pool, in its order.

        Raises:
            RecipeError: A hop is through a layer that is not there.
        """
        self.check_hops(layers)
        first, before = 0, {}
        for name, count in layers.items():
            before[name] = first
            first += count
        return make_path(
            np.array([before[hop.model] + hop.layer for hop in self.hops], np.int32),
            np.array([hop.scale for hop in self.hops], np.float32),
            branch_only=self.scaling == "branch",
        )

    def check_hops(self, layers: Mapping[str, int]) -> None:
        """Raise if a layer of the path is not there.

        Args:
            layers: The number of layers of some models of the pool.

        Raises:
            RecipeError: A hop is through a layer that is not there.
        """
        for number, hop in enumerate(self.hops):
            count = layers.get(hop.model)
            if count is not None and not 0 <= hop.layer < count:
                raise RecipeError(
                    f"path, hop {number}: {hop.model} has layers 0 to {count - 1}, not {hop.layer}"
                )

    def to_yaml(self) -> str:
        """The recipe as readable YAML, with the fewest digits that give the same float32."""
        tree: dict[str, Any] = {
            "evojax_merge": FORMAT,
            "kind": KIND,
            "pool": [
                {"name": name, **dataclasses.asdict(member)}
                if isinstance(member, Ingredient)
                else {"name": name, "recipe": member.to_tree()}
                for name, member in self.pool.items()
            ],
            "base": None if self.base is None else dataclasses.asdict(self.base),
            "skeleton": self.skeleton,
            "dtype": self.dtype,
            "scaling": self.scaling,
            "path": [
                [hop.model, hop.layer, float(str(np.float32(hop.scale)))] for hop in self.hops
            ],
        }
        if self.notes:
            tree["notes"] = dict(self.notes)
        return dump(tree)

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], where: str) -> Self:
        """Read what `to_yaml` wrote, parsed.

        Raises:
            RecipeError: Entries are missing, unknown or malformed.
        """
        given = read(_PathText, tree, where, RecipeError)
        pool: dict[str, Ingredient | Recipe] = {}
        for entry in given.pool:
            if entry.name in pool:
                raise RecipeError(f"{where}: two models of the pool are called {entry.name}")
            pool[entry.name] = _member(entry, where)
        recipe = cls(
            pool=pool,
            skeleton=given.skeleton,
            hops=tuple(given.path),
            scaling=given.scaling,
            dtype=given.dtype,
            base=None if given.base is None else given.base.ingredient,
            notes=dict(given.notes or {}),
        )
        recipe._check(where)
        return recipe

    def _check(self, where: str) -> None:
        try:
            check_dtype(self.dtype)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None
        if self.skeleton not in self.pool:
            raise RecipeError(
                f"{where}: skeleton {self.skeleton!r} is no model of the pool "
                f"({', '.join(self.pool)})"
            )
        if not self.hops:
            raise RecipeError(f"{where}: path is empty; a model needs at least one layer")
        for number, hop in enumerate(self.hops):
            if hop.model not in self.pool:
                raise RecipeError(
                    f"{where}: path, hop {number}: {hop.model!r} is no model of the pool "
                    f"({', '.join(self.pool)})"
                )
            if not SMALLEST <= abs(hop.scale) <= LARGEST:  # nor NaN
                raise RecipeError(
                    f"{where}: path, hop {number}: scale {hop.scale} must be finite and not zero"
                )

    def located(self, directory: FilePath) -> Self:
        """The same recipe with directories that stand beside a file found there."""
        pool = {
            name: member.located(directory) if isinstance(member, Recipe) else member.at(directory)
            for name, member in self.pool.items()
        }
        base = None if self.base is None else self.base.at(directory)
        return dataclasses.replace(self, pool=pool, base=base)

    def save(self, path: str | FilePath) -> None:
        """Write the YAML."""
        FilePath(path).write_text(self.to_yaml(), encoding="utf-8")


def load_recipe(path: str | FilePath) -> Recipe | PathRecipe | WeightsRecipe:
    """Read a recipe of any kind.

    Directories in it are relative to the working directory or to the file.

    Raises:
        RecipeError: There is no such file, or it is malformed.
    """
    path = FilePath(path)
    tree = read_tree(path)
    kind = tree.get("kind")
    if kind not in (None, KIND, WEIGHTS):
        raise RecipeError(
            f"{path}: kind {shown(kind)} is not known; kinds are {KIND}, {WEIGHTS}, or none"
        )
    if kind == WEIGHTS:
        return WeightsRecipe.from_tree(tree, path)
    if kind == KIND:
        return PathRecipe.from_tree(tree, str(path)).located(path.parent)
    return Recipe.from_tree(tree, str(path)).located(path.parent)


def _hop(given: Any) -> Hop:
    if isinstance(given, list) and len(given) == 3:
        model, layer, scale = given
        numbers = all(type(number) in (int, float) for number in (layer, scale))
        # A scale that float32 holds, and whether a layer is there, is asked of every recipe.
        if isinstance(model, str) and numbers and abs(layer) < 2**31 and layer == int(layer):
            try:
                return Hop(model, int(layer), float(scale))
            except OverflowError:
                pass
    raise ValueError("[model, layer, scale], e.g. [math, 3, 1.0]")


class _MemberText(Closed):
    name: str
    path: str | None = None
    sha256: str | None = None
    recipe: dict[str, Any] | None = None


class _PathText(Closed):
    """A data-flow recipe as it is written."""

    evojax_merge: Annotated[int, whole(1)]
    kind: str
    pool: Annotated[list[_MemberText], length(0, _MOST_MODELS)]
    skeleton: str
    path: Annotated[
        list[Annotated[Any, checked(_hop)]],
        length(0, _MOST_HOPS),
    ]
    scaling: Literal["stream", "branch"] = "stream"
    dtype: str | None = None
    base: IngredientText | None = None
    notes: Notes | None = None


def _member(entry: _MemberText, where: str) -> Ingredient | Recipe:
    inner = f"{where}, pool, {named(entry.name)}"
    if (entry.recipe is None) == (entry.path is None):
        raise RecipeError(f"{inner}: give path, and perhaps sha256, or recipe")
    if entry.recipe is not None:
        return Recipe.from_tree(entry.recipe, inner)
    return Ingredient(str(entry.path), entry.sha256)
