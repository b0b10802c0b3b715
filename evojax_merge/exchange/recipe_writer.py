"""Recipes of this package are written as mergekit YAML, where mergekit can say them.

Blocks of layers become slices, and parameter groups and parts of names become filters, tried in the
order in which a group is told from a tensor's name. A segment's embeddings go with the first layer
and its final norm and head with the last one in both programs. ``dtype: float32`` lets mergekit
compute as this package does, and ``out_dtype`` is what the recipe rounds to. Random methods draw
other masks there, and the file says so.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from evojax_merge.checkpoints import load_config
from evojax_merge.exchange.equivalents import GRIDDED, Expression, express
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.methods import METHODS
from evojax_merge.exchange.writable import (
    check_models,
    check_parts,
    reference,
    tokenizer_source,
)
from evojax_merge.models import COMMON_GROUPS
from evojax_merge.models.segments import Segment
from evojax_merge.operators import snap
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.portable import moved
from evojax_merge.sources.reference import Ingredient

FILTERS: tuple[tuple[str, str], ...] = (
    ("embedding", "embed_tokens"),
    ("head", "lm_head"),
    ("norm", "norm"),
    ("attention", "self_attn"),
    ("mlp", "mlp"),
)
"""A part of the names of each group's tensors. Norms within attention are found before it."""

_RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")


def to_mergekit(recipe: Recipe, directory: Path | None = None) -> str:
    """Write a recipe as mergekit YAML.

    Args:
        recipe: The recipe.
        directory: Where relative paths of the YAML are to lead from; by default, the working
            directory.

    Raises:
        ExchangeError: mergekit cannot express it. The reason is given.
        CheckpointError: The dtype of the reference is needed, and the reference cannot be opened.
    """
    expression = express(recipe.operator, recipe.arguments)
    check_models(recipe)
    check_parts(recipe)
    dtype = recipe.dtype or load_config(reference(recipe).path).dtype.name
    base, sources = _models(recipe, expression)
    donor = tokenizer_source(recipe, base or sources[0])
    if directory is not None:
        base = None if base is None else moved(base, directory)
        sources = tuple(moved(one, directory) for one in sources)
        donor = None if donor is None else moved(donor, directory)
    columns = [_column(recipe, expression, index) for index in range(len(recipe.segments))]
    tree: dict[str, Any] = {"merge_method": expression.method}
    if base is not None:
        tree["base_model"] = _model(base)
    blocks = list(_blocks(recipe.segments))
    if len(blocks) == 1:
        entries, shared = _block(recipe, expression, columns, blocks[0], base, sources, True)
        tree["models"] = entries
    else:
        shared = {}
        tree["slices"] = []
        for number, block in enumerate(blocks):
            ends = (number == 0, number == len(blocks) - 1)
            entries, own = _block(recipe, expression, columns, block, base, sources, False, ends)
            part: dict[str, Any] = {"sources": entries}
            tree["slices"].append(part | ({"parameters": own} if own else {}))
    parameters = expression.parameters | shared
    if parameters:
        tree["parameters"] = parameters
    tree |= {"dtype": "float32", "out_dtype": dtype}
    if donor is not None:
        tree["tokenizer_source"] = donor.path
    notes = ["Written by evojax-merge for mergekit 0.1.5."]
    if expression.method in _RANDOM:
        notes.append("mergekit draws other random masks than the recipe, of the same distribution.")
    text = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return "".join(f"# {note}\n" for note in notes) + text


def _models(
    recipe: Recipe, expression: Expression
) -> tuple[Ingredient | None, tuple[Ingredient, ...]]:
    accounts = (recipe.vocabulary or {}).items()
    moved = [name for name, account in accounts if account.get("method") == "by_token"]
    if moved:
        raise ExchangeError(
            f"the rows of {', '.join(moved)} were aligned token by token, and mergekit fills rows "
            "in another way"
        )
    base = {"first": recipe.sources[0], "base": recipe.base}.get(expression.base or "")
    if expression.base == "base" and base is None:
        raise ExchangeError(f"{expression.method} needs a base, and the recipe has none")
    paths = [source.path for source in recipe.sources]
    if len(set(paths)) < len(paths):
        raise ExchangeError("a source is named twice, which mergekit refuses")
    if expression.base == "base" and base is not None and base.path in paths:
        raise ExchangeError("the base is among the sources, where mergekit would leave it out")
    return base, recipe.sources


def _column(recipe: Recipe, expression: Expression, segment: int) -> dict[str, Any]:
    """Return the coefficients of one segment, each a number or a list of one for each source."""
    method = METHODS[expression.method]
    known = {parameter.name: parameter.role for parameter in method.parameters}
    found: dict[str, Any] = {}
    for name, values in recipe.coefficients.items():
        value = np.asarray(values, np.float32)[..., segment]
        if name in expression.neutral:
            wanted = expression.neutral[name]
            if not np.all(value == np.float32(wanted)):
                raise ExchangeError(
                    f"mergekit's {method.name} has no {name}: it can only be {wanted:g} everywhere"
                )
            continue
        if name in expression.equal:
            if not (value > 0).all() or np.ptp(value) > 0:
                raise ExchangeError(
                    f"mergekit's {method.name} has no {name}: in each part it must be above 0 and "
                    "the same for all sources"
                )
            continue
        if known.get(name) != "coefficient":
            raise ExchangeError(f"mergekit's {method.name} has no parameter {name}")
        if name in GRIDDED.get(method.name, ()):
            value = snap(value)
        found[name] = [_number(v) for v in value] if value.ndim else _number(value)
    weights = found.get("weight", [])
    if method.elects and expression.parameters["normalize"] and min(weights) < 0:
        raise ExchangeError(
            f"{method.name} with normalize and a negative weight: mergekit divides by the sum of "
            "weights, this package by that of their absolute values"
        )
    return found


def _block(
    recipe: Recipe,
    expression: Expression,
    columns: Sequence[dict[str, Any]],
    block: tuple[int, int],
    base: Ingredient | None,
    sources: Sequence[Ingredient],
    whole: bool,
    ends: tuple[bool, bool] = (True, True),
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Make the entries of the models in one block of layers, and their common parameters."""
    owners: dict[str, dict[str, Any]] = {}
    for segment, column in zip(recipe.segments, columns, strict=True):
        if segment.first <= block[0] and block[1] <= segment.stop:
            owners |= dict.fromkeys(segment.groups, column)
    if not ends[0]:
        owners.pop("embedding", None)
    if not ends[1]:
        owners.pop("head", None)

    def entry(ingredient: Ingredient) -> dict[str, Any]:
        found: dict[str, Any] = {"model": _model(ingredient)}
        return found if whole else found | {"layer_range": list(block)}

    names = list(columns[0])
    method = METHODS[expression.method]
    alone = {p.name for p in method.parameters if not p.shared}
    entries = []
    for index, source in enumerate(sources):
        parameters = {
            name: _by_group(
                {
                    g: v[name][index] if isinstance(v[name], list) else v[name]
                    for g, v in owners.items()
                }
            )
            for name in names
            if name in alone
        }
        entries.append(entry(source) | ({"parameters": parameters} if parameters else {}))
    if base is not None and base not in sources:
        entries.append(entry(base))
    shared = {
        name: _by_group({group: column[name] for group, column in owners.items()})
        for name in names
        if name not in alone
    }
    return entries, shared


def _by_group(values: dict[str, float]) -> Any:
    """Return one number, or filters that give each group its own. Parts of names come first."""
    distinct = list(values.values())
    fallback = max(distinct, key=distinct.count)
    if all(value == fallback for value in distinct):
        return fallback
    parts = [(part, value) for part, value in values.items() if part not in COMMON_GROUPS]
    rules = [(name, values[group]) for group, name in FILTERS if group in values]
    attention = values.get("attention", fallback) != fallback
    kept = [
        {"filter": name, "value": value}
        for name, value in [*parts, *rules]
        if (name, value) in parts or value != fallback or (name == "norm" and attention)
    ]
    return [*kept, {"value": fallback}] if kept else fallback


def _blocks(segments: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of layers within which no segment begins or ends."""
    edges = sorted({edge for segment in segments for edge in (segment.first, segment.stop)})
    yield from itertools.pairwise(edges) if len(edges) > 1 else [(0, 0)]


def _model(ingredient: Ingredient) -> Any:
    """Name a model so that mergekit, which splits a text at ``+`` and ``@``, does not split it."""
    if "+" in ingredient.path or (ingredient.path.startswith("/") and "@" in ingredient.path):
        return {"model": {"path": ingredient.path}}
    return ingredient.path


def _number(value: Any) -> float:
    """Round to the fewest digits that name the float32."""
    return float(str(np.float32(value)))


class _Dumper(yaml.SafeDumper):
    """This dumper puts lists of plain values on one line."""


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    flat = all(not isinstance(value, dict | list) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flat)


_Dumper.add_representer(list, _list)
