"""Refuses before a search what no operator can merge."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import allowed, within
from evojax_merge.operators.base import Operator
from evojax_merge.operators.statistics import in_threads, rows
from evojax_merge.params.finite import is_finite
from evojax_merge.params.low_rank import LowRank, Unchanged, is_adapter
from evojax_merge.params.tree import Stacked, flatten, is_stacked
from evojax_merge.params.types import Params

MOST_ELEMENTS = 2**32
"""Element indices are 32 bits wide."""


COMPARED = 2**20
"""Elements compared at once."""

SHOWN = 8
"""Tensors that a message lists."""


def check_sources(operator: Operator, sources: int, has_base: bool) -> None:
    """Whether the operator can merge so many sources, with or without a base.

    Raises:
        ValueError: it cannot.
    """
    least, most = operator.sources
    if sources < least or (most is not None and sources > most):
        wanted = str(least) if most == least else f"at least {least}"
        raise ValueError(f"{operator.name} merges {wanted} sources, got {sources}")
    if operator.needs_base and not has_base:
        raise ValueError(
            f"{operator.name} merges task vectors (source minus base) and needs the base model: "
            "give one, or use linear or slerp"
        )


def check(
    operator: Operator,
    base: Params | None,
    sources: Sequence[Params],
    stacked: Stacked = is_stacked,
) -> None:
    """Whether the operator can merge these trees, by their names, shapes and dtypes.

    Args:
        operator: merges them.
        base: the model that the sources were fine-tuned from, if it is given.
        sources: what is merged.
        stacked: tells the leaves whose leading axis counts layers.

    Raises:
        ValueError: the number of sources, a missing base, or any tensors that do not fit; all of
            them are listed.
    """
    check_sources(operator, len(sources), base is not None)
    if base is None and any(is_adapter(source) for source in sources):
        raise ValueError("a source is a LoRA adapter, which needs the base model it was made for")
    trees = {f"source {index}": flatten(source) for index, source in enumerate(sources)}
    if base is not None:
        trees = {"base": flatten(base), **trees}
    first, reference = next(iter(trees.items()))
    problems = []
    for name, leaves in trees.items():
        problems += [f"{path}: in {first}, not in {name}" for path in reference.keys() - leaves]
        problems += [f"{path}: in {name}, not in {first}" for path in leaves.keys() - reference]
        for path, leaf in leaves.items():
            problems += [
                f"{path}: {name} {problem}" for problem in _leaf_problems(leaf, stacked(path))
            ]
            if path in reference and leaf.shape != reference[path].shape:
                problems.append(
                    f"{path}: {name} has shape {leaf.shape}, {first} {reference[path].shape}"
                )
    if problems:
        raise ValueError("these tensors cannot be merged:\n  " + "\n  ".join(sorted(problems)))


def check_finite(name: str, params: Params, stacked: Stacked = is_stacked) -> None:
    """Whether every number of a tree is finite.

    Args:
        name: what messages call the tree.
        params: the tree.
        stacked: tells the leaves whose leading axis counts layers.

    Raises:
        ValueError: naming the tensors that hold NaN or infinity.
    """

    def broken_in(place: tuple[str, Any, int]) -> list[str]:
        path, leaf, layer = place
        whole = np.asarray(leaf)
        row = (whole[layer] if stacked(path) else whole).reshape(-1)
        if is_finite(row):
            return []
        with np.errstate(over="ignore"):
            count = np.count_nonzero(~np.isfinite(row.astype(np.float32)))
        where = f"{path}, layer {layer}" if stacked(path) else path
        return [f"{where}: {count} of {row.size} elements"]

    places = [
        (path, leaf, layer)
        for path, leaf in flatten(params).items()
        if not isinstance(leaf, LowRank | Unchanged)  # its factors are checked when they are read
        for layer in range(leaf.shape[0] if stacked(path) else 1)
    ]
    broken = list(itertools.chain.from_iterable(in_threads(broken_in, places)))
    if broken:
        more = [f"and {len(broken) - SHOWN} more"] if len(broken) > SHOWN else []
        listed = "\n  ".join([*broken[:SHOWN], *more])
        raise ValueError(f"{name} holds NaN or infinite numbers:\n  {listed}")


def check_task_vectors(
    base: Params,
    sources: Sequence[Params],
    names: Sequence[str],
    stacked: Stacked = is_stacked,
) -> None:
    """Whether every source differs from the base in some tensor; reads until it does.

    Args:
        base: of the task vectors.
        sources: of the same paths and shapes.
        names: what messages call them.
        stacked: tells the leaves whose leading axis counts layers.

    Raises:
        ValueError: the task vector of a source is zero everywhere.
    """
    origin = flatten(base)
    for name, source in zip(names, sources, strict=True):
        leaves = flatten(source).items()
        if all(_is_base(origin[path], leaf, stacked(path)) for path, leaf in leaves):
            raise ValueError(
                f"{name} is the base in every tensor, so that it adds nothing to it: leave it out, "
                "or give the checkpoint that was meant"
            )


def check_coefficients(operator: Operator, coefficients: Mapping[str, Mapping[str, Any]]) -> None:
    """Whether concrete coefficients (not traced ones) are numbers the operator can use.

    Args:
        operator: names its coefficients and their domains.
        coefficients: by leaf path and name, as `merge` takes them.

    Raises:
        ValueError: a coefficient is missing, unknown, not finite or outside its domain.
    """
    known = {coefficient.name: coefficient.domain for coefficient in operator.coefficients}
    for path, values in coefficients.items():
        if values.keys() != known.keys():
            raise ValueError(
                f"{path}: {operator.name} takes the coefficients {sorted(known)}, "
                f"got {sorted(values)}"
            )
        for name, (lower, upper) in known.items():
            for number in np.asarray(values[name], np.float64).flat:
                if not within(number, lower, upper):
                    raise ValueError(
                        f"{path}: {name} {number:g} of {operator.name} must be "
                        f"{allowed(lower, upper)}"
                    )


def conflicts(operator: Operator, values: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """The sources whose coefficients do not go together, each with what is wrong.

    Args:
        operator: says which coefficients are per source.
        values: by name, a number for each source or one for all of them.
    """
    per_source = {c.name for c in operator.coefficients if c.per_source}
    for source in range(max((len(values[name]) for name in per_source), default=1)):
        own = {k: float(v[source] if k in per_source else v) for k, v in values.items()}
        if problem := operator.conflict(own):
            yield source, problem


def _is_base(base: Any, leaf: Any, layered: bool) -> bool:
    if isinstance(leaf, Unchanged):
        return True
    if isinstance(leaf, LowRank):
        return not (np.any(leaf.b) and np.any(leaf.a))
    pairs = zip(rows(base, layered), rows(leaf, layered), strict=True)
    return all(
        np.array_equal(own[first : first + COMPARED], other[first : first + COMPARED])
        for own, other in pairs
        for first in range(0, own.size, COMPARED)
    )


def _leaf_problems(leaf: Any, layered: bool) -> list[str]:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return [f"is {leaf.dtype}: only floating-point tensors are merged"]
    if layered and not leaf.shape:
        return ["is a scalar, but stacked leaves have a leading layer axis"]
    elements = int(np.prod(leaf.shape[1:] if layered else leaf.shape, dtype=np.int64))
    if not leaf.size:
        return ["is empty"]
    if elements > MOST_ELEMENTS:
        return [f"has {elements} elements in a layer: at most 2**32 can be addressed"]
    return []
