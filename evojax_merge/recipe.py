"""A recipe: everything that is needed to build a merged checkpoint again, to the bit."""

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml

from evojax_merge.segments import Segment
from evojax_merge.types import Array
from evojax_merge.yaml_text import load_yaml

FORMAT = 1

RECIPE_FILE = "recipe.yaml"
"""The recipe of a run's winner, in its directory."""

DTYPES = ("float32", "bfloat16", "float16")
"""What a merge may be rounded to."""


class RecipeError(ValueError):
    """A recipe that cannot be read or applied."""


@dataclasses.dataclass(frozen=True)
class Ingredient:
    """A checkpoint that a recipe merges.

    Attributes:
        path: Directory or hub id.
        sha256: Hash of its weights, see `evojax_merge.checkpoints.content_hash`.
    """

    path: str
    sha256: str | None = None

    @classmethod
    def read(cls, entry: Any, where: str) -> Self:
        """What a recipe's file says of a checkpoint.

        Raises:
            ValueError: It is not a path, and perhaps a hash.
        """
        if (
            not isinstance(entry, Mapping)
            or not set(entry) <= {"path", "sha256"}
            or not isinstance(entry.get("path"), str)
            or not isinstance(entry.get("sha256"), str | None)
        ):
            raise ValueError(f"{where} is {entry!r}; give path, and perhaps sha256")
        return cls(**entry)

    def at(self, directory: Path) -> "Ingredient":
        """The same; a path that leads nowhere from here is one from ``directory``, if it is that.

        Args:
            directory: Where the recipe is.
        """
        beside = directory / self.path
        if Path(self.path).is_dir() or not beside.is_dir():
            return self
        return dataclasses.replace(self, path=str(beside))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is merged, by which operator, how strongly and where.

    Attributes:
        operator: Factory of the operator, ``package.module.function``.
        arguments: What the factory is called with.
        base: The model that sources were fine-tuned from, where the operator needs it.
        sources: In order.
        segments: The parts of the model within which coefficients are constant.
        coefficients: By name: float32 ``[sources, segments]``, or ``[segments]`` if not per source.
        seed: Of the random masks.
        dtype: Of the merged parameters.
        vocabulary: How rows of embeddings and head were aligned; None when the tokenizers agree.
        reference: Whose tokenizer and configuration the merge carries: ``base`` or the index of a
            source.
        notes: Where the recipe comes from; does not change the merge.
    """

    operator: str
    arguments: dict[str, Any]
    base: Ingredient | None
    sources: tuple[Ingredient, ...]
    segments: tuple[Segment, ...]
    coefficients: dict[str, np.ndarray]
    seed: int = 0
    dtype: str | None = None
    reference: str | int = "base"
    vocabulary: dict[str, Any] | None = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sources:
            raise RecipeError("sources is empty; list at least one checkpoint")
        sources = range(len(self.sources))
        if self.reference != "base" and (
            type(self.reference) is not int or self.reference not in sources
        ):
            raise RecipeError(
                f"reference is {self.reference!r}; give base, or the index of a source, from 0 to "
                f"{sources[-1]}"
            )
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise RecipeError(f"seed is {self.seed!r}; give a whole number from 0 to 2**32 - 1")
        check_dtype(self.dtype)

    def to_yaml(self) -> str:
        """Human-readable; numbers in the fewest digits that give the same float32."""
        return dump(self.to_tree())

    def to_tree(self) -> dict[str, Any]:
        """What `to_yaml` writes, as plain values."""
        tree: dict[str, Any] = {
            "evojax_merge": FORMAT,
            "operator": self.operator,
            "arguments": dict(self.arguments),
            "base": _ingredient(self.base),
            "sources": [_ingredient(source) for source in self.sources],
            "reference": self.reference,
            "dtype": self.dtype,
            "seed": self.seed,
        }
        if self.vocabulary is not None:
            tree["vocabulary"] = self.vocabulary
        tree["segments"] = [
            {
                "name": segment.name,
                "groups": list(segment.groups),
                "layers": [segment.first, segment.stop],
                **{name: _numbers(value[..., i]) for name, value in self.coefficients.items()},
            }
            for i, segment in enumerate(self.segments)
        ]
        if self.notes:
            tree["notes"] = dict(self.notes)
        return tree

    @classmethod
    def from_yaml(cls, text: str, where: str = "recipe") -> Self:
        """Read what `to_yaml` wrote.

        Args:
            text: The YAML.
            where: What messages call it.

        Raises:
            RecipeError: It is not a recipe, or has missing, unknown or malformed entries.
        """
        return cls.from_tree(parse(text, where), where)

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], where: str) -> Self:
        """Read what `to_tree` gave.

        Raises:
            RecipeError: As `from_yaml`.
        """
        check_keys(where, tree, _REQUIRED, _OPTIONAL)
        try:
            return cls._from_tree(tree)
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise RecipeError(f"{where}: malformed ({error})") from error

    @classmethod
    def _from_tree(cls, tree: Mapping[str, Any]) -> Self:
        segments: list[Segment] = []
        columns: list[dict[str, Any]] = []
        for number, entry in enumerate(tree["segments"]):
            segments.append(_segment(entry, f"segments[{number}]"))
            values = {name: entry[name] for name in entry if name not in _SEGMENT}
            if columns and values.keys() != columns[0].keys():
                raise ValueError(f"segments[{number}] has other coefficients than segments[0]")
            columns.append(values)
        if not segments:
            raise ValueError("segments is empty")
        coefficients = {
            name: np.stack([np.asarray(c[name], np.float32) for c in columns], axis=-1)
            for name in columns[0]
        }
        return cls(
            operator=tree["operator"],
            arguments=dict(tree["arguments"] or {}),
            base=Ingredient.read(tree["base"], "base") if tree["base"] else None,
            sources=tuple(Ingredient.read(source, "a source") for source in tree["sources"]),
            segments=tuple(segments),
            coefficients=coefficients,
            seed=tree["seed"],
            dtype=tree.get("dtype"),
            reference=tree.get("reference", "base"),
            vocabulary=tree.get("vocabulary"),
            notes=dict(tree.get("notes") or {}),
        )

    def save(self, path: Path) -> None:
        """Write the YAML."""
        path.write_text(self.to_yaml(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recipe; directories in it are relative to the working directory or to the file.

        Raises:
            RecipeError: There is no such file, or see `from_yaml`.
        """
        path = Path(path)
        return cls.from_tree(read_tree(path), str(path)).located(path.parent)

    def located(self, directory: Path) -> Self:
        """The same with every checkpoint found from here (see `Ingredient.at`)."""
        return dataclasses.replace(
            self,
            base=self.base.at(directory) if self.base else None,
            sources=tuple(source.at(directory) for source in self.sources),
        )


def read_tree(path: Path) -> Mapping[str, Any]:
    """The YAML of a recipe of any kind, parsed.

    Raises:
        RecipeError: There is no such file, or it is not a recipe of this format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error})") from None
    return parse(text, str(path))


def parse(text: str, where: str) -> Mapping[str, Any]:
    """The YAML of a recipe of any kind.

    Raises:
        RecipeError: It is not a recipe of this format.
    """
    try:
        tree = load_yaml(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: is not YAML ({error})") from None
    if not isinstance(tree, Mapping) or "evojax_merge" not in tree:
        raise RecipeError(f"{where}: is not a recipe (it has no key evojax_merge)")
    if tree["evojax_merge"] != FORMAT:
        raise RecipeError(f"{where}: format {tree['evojax_merge']}, this version reads {FORMAT}")
    return tree


def dump(tree: Mapping[str, Any]) -> str:
    """A recipe of any kind as YAML."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


_REQUIRED = ("evojax_merge", "operator", "arguments", "base", "sources", "seed", "segments")
_OPTIONAL = ("dtype", "reference", "vocabulary", "notes")
_SEGMENT = ("name", "groups", "layers")


def check_keys(
    where: str, tree: Mapping[str, Any], required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    """Whether a recipe has the entries it must have and no others.

    Raises:
        RecipeError: It lacks some, or has unknown ones; all are named.
    """
    problems = [f"lacks {name}" for name in required if name not in tree]
    for name in tree:
        if name not in required + optional:
            near = get_close_matches(str(name), required + optional, n=1)
            problems.append(f"unknown key {name}" + (f" (did you mean {near[0]}?)" if near else ""))
    if problems:
        raise RecipeError(f"{where}: " + "; ".join(problems))


def check_dtype(dtype: str | None) -> None:
    """Whether a merge can be rounded to it.

    Raises:
        RecipeError: It cannot.
    """
    if dtype is not None and dtype not in DTYPES:
        raise RecipeError(
            f"dtype is {dtype!r}; use {', '.join(DTYPES)}, or null for that of the reference"
        )


def _segment(entry: Mapping[str, Any], where: str) -> Segment:
    groups, layers = entry["groups"], entry["layers"]
    if not isinstance(groups, list) or not all(isinstance(part, str) for part in groups):
        raise RecipeError(f"{where}.groups is {groups!r}; give a list of names")
    if (
        not isinstance(layers, list)
        or len(layers) != 2
        or any(type(layer) is not int for layer in layers)
    ):
        raise RecipeError(f"{where}.layers is {layers!r}; give [first, stop], two whole numbers")
    return Segment(str(entry["name"]), tuple(groups), *layers)


def _ingredient(ingredient: Ingredient | None) -> dict[str, Any] | None:
    return None if ingredient is None else dataclasses.asdict(ingredient)


def _numbers(values: np.ndarray | Array) -> Any:
    """Floats whose shortest decimal form names the float32."""
    rounded = np.asarray(values, np.float32)
    if rounded.ndim == 0:
        return float(str(rounded))
    return [_numbers(value) for value in rounded]


class _Dumper(yaml.SafeDumper):
    """Puts lists of plain values on one line."""


def _list(dumper: yaml.SafeDumper, values: list) -> yaml.Node:
    flat = all(not isinstance(value, dict | list) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flat)


_Dumper.add_representer(list, _list)
