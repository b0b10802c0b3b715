"""A recipe of the data-flow kind: the models of a pool, and the path through their layers."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, NamedTuple, Self

import numpy as np

from evojax_merge.models.decoder.path import Path, make_path
from evojax_merge.recipe import (
    FORMAT,
    Ingredient,
    Recipe,
    RecipeError,
    check_dtype,
    check_keys,
    dump,
    read_tree,
)
from evojax_merge.spaces.dataflow import Semantics
from evojax_merge.weights_recipe import KIND as WEIGHTS
from evojax_merge.weights_recipe import WeightsRecipe

KIND = "dataflow"

SMALLEST, LARGEST = float(np.finfo(np.float32).smallest_subnormal), float(np.finfo(np.float32).max)
"""Sizes of a scale."""


class Hop(NamedTuple):
    """A layer of a model, and what the hidden state is multiplied by on entering it."""

    model: str
    layer: int
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class PathRecipe:
    """What a data-flow merge is made of.

    Attributes:
        pool: The models by name, in order: checkpoints, or recipes of merges.
        skeleton: The model that gives embedding, final norm, head and tokenizer.
        hops: The path.
        scaling: What a scale multiplies: ``stream``, all of the residual stream, or ``branch``,
            what the MLP of the hop before added to it.
        dtype: Of the merged parameters; None: the skeleton's.
        base: The model that the pool's LoRA adapters were trained on.
        notes: Where the recipe comes from; does not change the merge.
    """

    pool: dict[str, Ingredient | Recipe]
    skeleton: str
    hops: tuple[Hop, ...]
    scaling: Semantics = "stream"
    dtype: str | None = None
    base: Ingredient | None = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def path(self, layers: Mapping[str, int]) -> Path:
        """The path through the pool.

        Args:
            layers: Number of layers of each model of the pool, in its order.

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
        """Whether the layers of the path are there.

        Args:
            layers: Number of layers of some models of the pool.

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
        """Human-readable; numbers in the fewest digits that give the same float32."""
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
        check_keys(where, tree, _REQUIRED, _OPTIONAL)
        try:
            recipe = cls._read(tree, where)
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            OverflowError,
        ) as error:
            if isinstance(error, RecipeError):
                raise
            raise RecipeError(f"{where}: malformed ({error})") from error
        recipe._check(where)
        return recipe

    @classmethod
    def _read(cls, tree: Mapping[str, Any], where: str) -> Self:
        pool: dict[str, Ingredient | Recipe] = {}
        for entry in tree["pool"]:
            entry = dict(entry)
            name = entry.pop("name", None)
            if not isinstance(name, str):
                raise ValueError(f"pool: a model's name is {name!r}; give a text")
            if name in pool:
                raise ValueError(f"two models of the pool are called {name}")
            nested = entry.pop("recipe", None)
            pool[name] = (
                Ingredient.read(entry, f"pool, {name}")
                if nested is None
                else Recipe.from_tree(nested, f"{where}, {name}")
            )
        return cls(
            pool=pool,
            skeleton=tree["skeleton"],
            hops=tuple(_hop(number, hop) for number, hop in enumerate(tree["path"])),
            scaling=tree.get("scaling", "stream"),
            dtype=tree.get("dtype"),
            base=Ingredient.read(tree["base"], "base") if tree.get("base") else None,
            notes=dict(tree.get("notes") or {}),
        )

    def _check(self, where: str) -> None:
        try:
            check_dtype(self.dtype)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None
        if not isinstance(self.skeleton, str) or self.skeleton not in self.pool:
            raise RecipeError(
                f"{where}: skeleton {self.skeleton!r} is no model of the pool "
                f"({', '.join(self.pool)})"
            )
        if self.scaling not in ("stream", "branch"):
            raise RecipeError(f"{where}: scaling is {self.scaling!r}; use stream or branch")
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
        """The same with directories that stand beside a file found there."""
        pool = {
            name: member.located(directory) if isinstance(member, Recipe) else member.at(directory)
            for name, member in self.pool.items()
        }
        base = None if self.base is None else self.base.at(directory)
        return dataclasses.replace(self, pool=pool, base=base)

    def save(self, path: FilePath) -> None:
        """Write the YAML."""
        path.write_text(self.to_yaml(), encoding="utf-8")


def load_recipe(path: str | FilePath) -> Recipe | PathRecipe | WeightsRecipe:
    """Read a recipe of any kind; directories in it are relative to the working directory or to
    the file.

    Raises:
        RecipeError: There is no such file, or it is malformed.
    """
    path = FilePath(path)
    tree = read_tree(path)
    kind = tree.get("kind")
    if kind not in (None, KIND, WEIGHTS):
        raise RecipeError(
            f"{path}: kind {kind!r} is not known; kinds are {KIND}, {WEIGHTS}, or none"
        )
    if kind == WEIGHTS:
        return WeightsRecipe.from_tree(tree, path)
    if kind == KIND:
        return PathRecipe.from_tree(tree, str(path)).located(path.parent)
    return Recipe.from_tree(tree, str(path)).located(path.parent)


def _hop(number: int, entry: Any) -> Hop:
    kinds = (str, int, int | float)
    if (
        not isinstance(entry, list)
        or len(entry) != 3
        or any(isinstance(part, bool) for part in entry)
        or not all(isinstance(part, kind) for part, kind in zip(entry, kinds, strict=True))
    ):
        raise ValueError(
            f"path, hop {number} is {entry!r}; give [model, layer, scale], e.g. [math, 3, 1.0]"
        )
    return Hop(entry[0], entry[1], float(entry[2]))


_REQUIRED = ("evojax_merge", "kind", "pool", "skeleton", "path")
_OPTIONAL = ("scaling", "dtype", "base", "notes")
