"""A recipe, which is all that is needed to build a merged checkpoint again, to the bit."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import yaml

from evojax_merge.documents.arguments import LARGEST
from evojax_merge.documents.errors import DocumentError, named, shown
from evojax_merge.documents.files import read_text
from evojax_merge.documents.schema import Closed, Document, Open, checked, kind, length, read, whole
from evojax_merge.documents.terminal import printable
from evojax_merge.documents.yaml_text import load_yaml
from evojax_merge.models.segments import Segment
from evojax_merge.params.types import Array
from evojax_merge.sources.reference import Ingredient

FORMAT = 1

RECIPE_FILE = "recipe.yaml"
"""The file of the recipe of a run's winner, in its directory."""

BEST_FILE = "best.yaml"
"""The file of the recipe of the best candidate so far, until the run has its winner."""

DTYPES = ("float32", "bfloat16", "float16")
"""The types that a merge may be rounded to."""


class RecipeError(ValueError):
    """A recipe that cannot be read or applied."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is merged, by which operator, how strongly and where.

    Attributes:
        operator: The factory of the operator, ``package.module.function``.
        arguments: What the factory is called with.
        base: The model that sources were fine-tuned from, where the operator needs it.
        sources: The checkpoints that are merged, in the order of the coefficients.
        segments: The parts of the model within which coefficients are constant.
        coefficients: The coefficients by name, float32 ``[sources, segments]``, or ``[segments]``
            if not per source. A segment of a file has its own, e.g. ``weight: [0.6, 0.4]``.
        seed: The seed of the random masks.
        dtype: The type of the merged parameters.
        vocabulary: How rows of embeddings and head were aligned; None when the tokenizers agree.
        reference: The model whose tokenizer and configuration the merge carries: ``base`` or the
            index of a source. Of models that consist of parts it is the carrier of all others.
        parts: The parts that are merged, where models consist of parts.
        carriers: Parts that are not merged and come from another checkpoint than the rest, by name.
        notes: Where the recipe comes from, which does not change the merge.
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
    parts: tuple[str, ...] | None = None
    carriers: dict[str, Ingredient] = dataclasses.field(default_factory=dict)

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

    def __repr__(self) -> str:
        names = [Path(source.path).name for source in self.sources]
        on = f" on {Path(self.base.path).name}" if self.base else ""
        name = self.operator.removeprefix("evojax_merge.operators.")
        if len(self.segments) == 1:
            values = {key: _numbers(value[..., 0]) for key, value in self.coefficients.items()}
            given = "".join(f", {key}={value}" for key, value in values.items())
        else:
            given = f", {', '.join(self.coefficients)} in {len(self.segments)} segments"
        return printable(f"Recipe({name} of {', '.join(names)}{on}{given})")

    def to_yaml(self) -> str:
        """The recipe as readable YAML, with the fewest digits that give the same float32."""
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
        if self.parts is not None:
            tree["parts"] = list(self.parts)
        if self.carriers:
            tree["carriers"] = {name: _ingredient(one) for name, one in self.carriers.items()}
        if self.vocabulary is not None:
            tree["vocabulary"] = self.vocabulary
        tree["segments"] = [
            {
                "name": segment.name,
                "groups": list(segment.groups),
                "layers": [segment.first, segment.stop],
                **({} if segment.stack is None else {"stack": segment.stack}),
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
            where: What messages call the text.

        Raises:
            RecipeError: The text is not a recipe, or has missing, unknown or malformed entries.
        """
        return cls.from_tree(parse(text, where), where)

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], where: str) -> Self:
        """Read what `to_tree` gave.

        Raises:
            RecipeError: Entries are missing, unknown or malformed.
        """
        given = read(RecipeText, tree, where, RecipeError)
        first = given.segments[0].others
        for number, segment in enumerate(given.segments):
            if segment.others.keys() != first.keys():
                raise RecipeError(
                    f"{where}: segments[{number}] has other coefficients than segments[0]"
                )
            for name, value in segment.others.items():
                if np.shape(value) != np.shape(first[name]):
                    raise RecipeError(
                        f"{where}: {named(name)} of segments[{number}] has another length than of "
                        "segments[0]"
                    )
        try:
            return cls(
                operator=given.operator,
                arguments=dict(given.arguments or {}),
                base=None if given.base is None else given.base.ingredient,
                sources=tuple(source.ingredient for source in given.sources),
                segments=tuple(segment.segment for segment in given.segments),
                coefficients={
                    name: np.stack(
                        [np.asarray(s.others[name], np.float32) for s in given.segments],
                        axis=-1,
                    )
                    for name in first
                },
                seed=given.seed,
                dtype=given.dtype,
                reference=given.reference,
                vocabulary=tree.get("vocabulary"),
                notes=dict(given.notes or {}),
                parts=None if given.parts is None else tuple(given.parts),
                carriers={name: one.ingredient for name, one in (given.carriers or {}).items()},
            )
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write the YAML."""
        Path(path).write_text(self.to_yaml(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recipe whose directories are relative to the working directory or to the file.

        Raises:
            RecipeError: There is no such file, or it is malformed.
        """
        path = Path(path)
        return cls.from_tree(read_tree(path), str(path)).located(path.parent)

    def located(self, directory: Path) -> Self:
        """The same recipe with every checkpoint found from a directory (see `Ingredient.at`)."""
        return dataclasses.replace(
            self,
            base=self.base.at(directory) if self.base else None,
            sources=tuple(source.at(directory) for source in self.sources),
            carriers={name: one.at(directory) for name, one in self.carriers.items()},
        )


def read_tree(path: Path) -> Mapping[str, Any]:
    """The YAML of a recipe of any kind, parsed.

    Raises:
        RecipeError: There is no such file, or it is not a recipe of this format.
    """
    try:
        text = read_text(path)
    except DocumentError as error:
        raise RecipeError(f"{path}: {error}") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror})") from None
    return parse(text, str(path))


def parse(text: str, where: str) -> Mapping[str, Any]:
    """The YAML of a recipe of any kind.

    Raises:
        RecipeError: The text is not a recipe of this format.
    """
    try:
        tree = load_yaml(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: is not YAML ({error})") from None
    if not isinstance(tree, Mapping) or "evojax_merge" not in tree:
        raise RecipeError(f"{where}: is not a recipe (it has no key evojax_merge)")
    version = read(_Versioned, tree, where, RecipeError).evojax_merge
    if version != FORMAT:
        raise RecipeError(f"{where}: format {version}, this version reads {FORMAT}")
    return tree


def dump(tree: Mapping[str, Any]) -> str:
    """A recipe of any kind as YAML."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


_INFINITE = LARGEST * (1 + 2**-25)
"""Where float32 rounds to infinity; the few digits of its largest number are above that number."""

_MOST_SOURCES = 512
_MOST_SEGMENTS = 4_096


class _Versioned(Document):
    evojax_merge: Annotated[int, whole(1)]


class IngredientText(Closed):
    """A checkpoint in the text of a recipe of any kind."""

    path: Annotated[str, length(1)]
    sha256: str | None = None

    @property
    def ingredient(self) -> Ingredient:
        """The checkpoint."""
        return Ingredient(self.path, self.sha256)


def _coefficient(given: Any) -> Any:
    numbers = given if isinstance(given, list) else [given]
    for value in numbers:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not abs(value) < _INFINITE:  # nor NaN
            raise ValueError("a finite number of float32, or a list of them, one for each source")
    return given


class _SegmentText(Open):
    """A part of the model; the names of its coefficients are those of the operator."""

    __pydantic_extra__: dict[str, Annotated[Any, checked(_coefficient)]]

    name: str
    groups: list[str]
    layers: Annotated[list[Annotated[int, whole(0, 10_000)]], length(2, 2)]
    stack: str | None = None

    @property
    def segment(self) -> Segment:
        """The part of the model."""
        first, stop = self.layers
        return Segment(self.name, tuple(self.groups), first, stop, self.stack)


class _AccountText(Document):
    """How the rows of a source were aligned, see `evojax_merge.checkpoints.Alignment`."""

    method: str
    rows: Annotated[int, whole()]
    taken: Annotated[int, whole()]


def _plain(given: Any) -> Any:
    if isinstance(given, list):
        for value in given:
            _plain(value)
    elif isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(key, str):
                raise ValueError(f"a mapping whose keys are texts, not {shown(key)}")
            _plain(value)
    elif not isinstance(given, str | int | float | None):
        raise ValueError(f"texts, numbers, true, false, lists and mappings, not {shown(given)}")
    return given


Notes = dict[str, Any]
"""What a recipe says to people."""


PartNames = Annotated[list[Annotated[str, length(1)]], length(1)]
"""The parts of models that a recipe of any kind merges."""


class RecipeText(Closed):
    """A recipe as it is written."""

    evojax_merge: Annotated[int, whole(1)]
    operator: Annotated[str, length(1)]
    arguments: dict[str, Annotated[Any, checked(_plain)]] | None
    base: IngredientText | None
    sources: Annotated[list[IngredientText], length(1, _MOST_SOURCES)]
    seed: Annotated[int, whole(0, 2**32 - 1)]
    segments: Annotated[list[_SegmentText], length(1, _MOST_SEGMENTS)]
    dtype: str | None = None
    reference: Annotated[Any, kind((str, int), "base, or the index of a source")] = "base"
    vocabulary: dict[str, _AccountText] | None = None
    parts: PartNames | None = None
    carriers: dict[str, IngredientText] | None = None
    notes: Notes | None = None


def check_dtype(dtype: str | None) -> None:
    """Raise if a merge cannot be rounded to a type.

    Raises:
        RecipeError: There is no such type among `DTYPES`.
    """
    if dtype is not None and dtype not in DTYPES:
        raise RecipeError(
            f"dtype is {dtype!r}; use {', '.join(DTYPES)}, or null for that of the reference"
        )


def _ingredient(ingredient: Ingredient | None) -> dict[str, Any] | None:
    return None if ingredient is None else dataclasses.asdict(ingredient)


def _numbers(values: np.ndarray | Array) -> Any:
    """Floats whose shortest decimal form names the float32."""
    rounded = np.asarray(values, np.float32)
    if rounded.ndim == 0:
        return float(str(rounded))
    return [_numbers(value) for value in rounded]


class _Dumper(yaml.SafeDumper):
    """A writer that puts lists of plain values on one line."""


def _list(dumper: yaml.SafeDumper, values: list) -> yaml.Node:
    flat = all(not isinstance(value, dict | list) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flat)


_Dumper.add_representer(list, _list)
