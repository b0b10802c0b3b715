"""Checks that refuse, before a search, what no operator can merge."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import allowed, within
from evojax_merge.operators.base import Operator
from evojax_merge.operators.statistics import in_threads, rows
from evojax_merge.params.finite import is_finite
from evojax_merge.params.low_rank import LowRank, Unchanged, is_adapter
from evojax_merge.params.on_host import is_on_host, on_host
from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Params

MOST_ELEMENTS = 2**32
"""Element indices are 32 bits wide."""


COMPARED = 2**20
"""How many elements are compared at once."""

SHOWN = 8
"""How many tensors a message lists."""


class Origin(NamedTuple):
    """What messages call a model and its tensors.

    Attributes:
        name: The name of the model, such as its path.
        tensors: The names of tensors by the path of a leaf and the layer, which is None where the
            leaf is in none. A tensor without a name is called by its leaf.
    """

    name: str
    tensors: Mapping[tuple[str, int | None], str] = {}


def check_sources(operator: Operator, sources: int, has_base: bool) -> None:
    """Check that the operator can merge so many sources, with or without a base.

    Raises:
        ValueError: The operator cannot merge them.
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
    stacked: Collection[str] = (),
) -> None:
    """Check that the operator can merge these trees, by their names, shapes and dtypes.

    Args:
        operator: The operator that is to merge the trees.
        base: The common ancestor, if any.
        sources: What is merged.
        stacked: Paths of the leaves whose first axis counts layers.

    Raises:
        ValueError: The number of sources is wrong, the base is missing, or some tensors do not
            fit; the message lists them.
    """
    check_sources(operator, len(sources), base is not None)
    if base is None and any(is_adapter(source) for source in sources):
        raise ValueError(
            "a source is a LoRA adapter or lacks a part, and needs the base model that it was made "
            "for"
        )
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
                f"{path}: {name} {problem}" for problem in _leaf_problems(leaf, path in stacked)
            ]
            if path in reference and leaf.shape != reference[path].shape:
                problems.append(
                    f"{path}: {name} has shape {leaf.shape}, {first} {reference[path].shape}"
                )
    if problems:
        raise ValueError("these tensors cannot be merged:\n  " + "\n  ".join(sorted(problems)))


def check_finite(origin: Origin, params: Params, stacked: Collection[str] = ()) -> None:
    """Check that every number of a tree is finite.

    Args:
        origin: What the message calls the tree.
        params: The tree.
        stacked: Paths of the leaves whose first axis counts layers.

    Raises:
        ValueError: Some tensors hold NaN or infinity; the message names them.
    """

    def broken_in(place: tuple[str, Any, int]) -> list[str]:
        path, leaf, layer = place
        whole = np.asarray(leaf)
        row = (whole[layer] if path in stacked else whole).reshape(-1)
        if is_finite(row):
            return []
        with np.errstate(over="ignore"):
            count = np.count_nonzero(~np.isfinite(row.astype(np.float32)))
        known = f"{path}, layer {layer}" if path in stacked else path
        where = origin.tensors.get((path, layer if path in stacked else None), known)
        return [f"{where}: {count} of {row.size} elements"]

    suspects = {
        path: leaf
        for path, leaf in flatten(params).items()
        if not isinstance(leaf, LowRank | Unchanged)  # its factors are checked when they are read
        if is_on_host(leaf) or not _all_finite(leaf)
    }
    places = [
        (path, on_host(leaf, path in stacked), layer)
        for path, leaf in suspects.items()
        for layer in range(leaf.shape[0] if path in stacked else 1)
    ]
    broken = list(itertools.chain.from_iterable(in_threads(broken_in, places)))
    if broken:
        more = [f"and {len(broken) - SHOWN} more"] if len(broken) > SHOWN else []
        listed = "\n  ".join([*broken[:SHOWN], *more])
        raise ValueError(f"{origin.name} holds NaN or infinite numbers:\n  {listed}")


def check_task_vectors(
    base: Params,
    sources: Sequence[Params],
    names: Sequence[str],
    stacked: Collection[str] = (),
) -> None:
    """Check that every source differs from the base in some tensor.

    Each source is read until a tensor differs.

    Args:
        base: The base that task vectors are counted from.
        sources: Trees of the same paths and shapes as the base.
        names: What messages call the sources.
        stacked: Paths of the leaves whose first axis counts layers.

    Raises:
        ValueError: The task vector of a source is zero everywhere.
    """
    origin = flatten(base)
    for name, source in zip(names, sources, strict=True):
        leaves = flatten(source).items()
        if all(_is_base(origin[path], leaf, path in stacked) for path, leaf in leaves):
            raise ValueError(
                f"{name} is the base in every tensor, so that it adds nothing to it: leave it out, "
                "or give the checkpoint that was meant"
            )


def check_coefficients(operator: Operator, coefficients: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that concrete coefficients (not traced ones) are numbers the operator can use.

    Args:
        operator: The operator, which names its coefficients and their domains.
        coefficients: The coefficients by leaf path and name, as `merge` takes them.

    Raises:
        ValueError: A coefficient is missing, unknown, not finite or outside its domain.
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
    """Yield the sources whose coefficients do not go together, each with what is wrong.

    Args:
        operator: The operator, which says which coefficients are per source.
        values: The coefficients by name: a number for each source, or one for all of them.
    """
    per_source = {c.name for c in operator.coefficients if c.per_source}
    for source in range(max((len(values[name]) for name in per_source), default=1)):
        own = {k: float(v[source] if k in per_source else v) for k, v in values.items()}
        if problem := operator.conflict(own):
            yield source, problem


@jax.jit
def _all_finite(leaf: Any) -> Any:
    return jnp.isfinite(leaf).all()


@jax.jit
def _all_equal(base: Any, leaf: Any) -> Any:
    return (base == leaf).all()


def _is_base(base: Any, leaf: Any, stacked: bool) -> bool:
    if isinstance(leaf, Unchanged):
        return True
    if isinstance(leaf, LowRank):
        return not (np.any(leaf.b) and np.any(leaf.a))
    if not is_on_host(base) and not is_on_host(leaf):
        return bool(_all_equal(base, leaf))
    pairs = zip(rows(base, stacked), rows(leaf, stacked), strict=True)
    return all(
        np.array_equal(own[first : first + COMPARED], other[first : first + COMPARED])
        for own, other in pairs
        for first in range(0, own.size, COMPARED)
    )


def _leaf_problems(leaf: Any, stacked: bool) -> list[str]:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return [f"is {leaf.dtype}: only floating-point tensors are merged"]
    if stacked and not leaf.shape:
        return ["is a scalar, but a stacked leaf has a leading layer axis"]
    elements = int(np.prod(leaf.shape[1:] if stacked else leaf.shape, dtype=np.int64))
    if not leaf.size:
        return ["is empty"]
    if elements > MOST_ELEMENTS:
        return [f"has {elements} elements in a layer: at most 2**32 can be addressed"]
    return []
