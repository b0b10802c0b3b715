"""An operator applied to whole parameter trees."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt32

from evojax_merge.operators.base import Coefficients, Operator
from evojax_merge.operators.check import Origin, check, check_finite
from evojax_merge.operators.evidence import Evidence
from evojax_merge.operators.statistics.cache import Entry
from evojax_merge.operators.statistics.dealt import dealt
from evojax_merge.operators.statistics_shapes import shapes_of
from evojax_merge.operators.steps.random_mask import layer_keys, leaf_key
from evojax_merge.params.abstract import is_abstract
from evojax_merge.params.low_rank import on_base
from evojax_merge.params.on_host import on_host
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Params

Statistics = dict[str, Any]
"""What the operator's ``init`` computed, by leaf path."""


def init_statistics(
    operator: Operator,
    base: Params | None,
    sources: tuple[Params, ...],
    evidence: Evidence | None = None,
    entry: Entry | None = None,
    *,
    stacked: Collection[str] = (),
    origins: Sequence[Origin] | None = None,
) -> Statistics:
    """Compute what the operator must know of whole tensors, once before a search.

    Args:
        operator: The operator whose ``init`` computes the statistics.
        base: The common ancestor, if any.
        sources: The trees that are merged.
        evidence: The evidence of each source, where the operator asks for it
            (`evojax_merge.sources.evidence.collect`).
        entry: The place where statistics of the very same weights are read if they are there, and
            written if not.
        stacked: Paths of the leaves whose first axis counts layers: those of the model's layout.
        origins: What messages call the base, if there is one, and the sources; by default, by their
            numbers.

    Returns:
        The statistics by leaf path; of trees that are shapes alone, their shapes.

    Raises:
        ValueError: The trees cannot be merged, or hold NaN or infinite numbers, or the evidence
            that the operator asks for is not given.
    """
    check(operator, base, sources, stacked)
    if is_abstract(base, sources):
        return _shapes(operator, base, sources, evidence, stacked)
    kept = _kept(operator, base, sources, entry, stacked)
    if kept is not None:  # computed from the same bytes, which have passed what follows
        return kept
    trees = sources if base is None else (base, *sources)
    numbered = [Origin(f"source {index}") for index in range(len(sources))]
    based = [] if base is None else [Origin("the base")]
    for origin, tree in zip(origins or [*based, *numbered], trees, strict=True):
        check_finite(origin, tree, stacked)
    bases = flatten(base) if base is not None else {}
    leaves = [flatten(source) for source in sources]
    of_leaf = _leaf_evidence(operator, evidence, len(sources))

    def given(path: str) -> tuple[Any, ...]:
        layered = path in stacked
        first = on_host(bases.get(path), layered)
        own = [on_host(source[path], layered) for source in leaves]
        return first, tuple(on_base(first, leaf) for leaf in own), layered, *of_leaf(path)

    def init(path: str, taken: tuple[Any, ...]) -> Any:
        return operator.init(*taken)

    takes_long = operator.statistics_name is not None and operator.evidence is None
    if takes_long and jax.process_count() > 1:
        example = _example(operator, base, sources, stacked)
        statistics = dealt(list(leaves[0]), given, init, example)
    else:
        statistics = {path: init(path, given(path)) for path in leaves[0]}
    if entry is not None:
        entry.write(
            {
                f"{path} {index}": np.asarray(value)
                for path, tree in statistics.items()
                for index, value in enumerate(jax.tree.leaves(tree))
            }
        )
    return statistics


def merge(
    operator: Operator,
    base: Params | None,
    sources: tuple[Params, ...],
    coefficients: Mapping[str, Coefficients],
    statistics: Statistics,
    seed: int | UInt32[Array, ""],
    dtype: Any = None,
    *,
    stacked: Collection[str] = (),
) -> Params:
    """Merge parameters for one candidate: a pure function, also under jit and vmap.

    Args:
        operator: The operator, from one of the factories of this package.
        base: The model that the sources were fine-tuned from, where there is one.
        sources: Trees of the same paths and shapes; those of LoRA adapters hold
            `evojax_merge.params.low_rank` leaves, and need the base whatever the operator.
        coefficients: The coefficients by leaf path, then by name: ``[sources]`` or
            ``[sources, layers]``.
        statistics: What `init_statistics` gave for the same operator, base and sources.
        seed: The seed of the recipe, which addresses the random masks.
        dtype: The dtype of the result; by default that of each leaf of the base, or of the first
            source without a base.
        stacked: Paths of the leaves whose first axis counts layers: those of the model's layout.

    Returns:
        A tree like the sources, computed in float32 and rounded once.

    Raises:
        ValueError: Coefficients are missing or of the wrong shape.
    """
    bases = flatten(base) if base is not None else {}
    leaves = [flatten(source) for source in sources]
    # However they were come by, from here on it is the same program: the same bits.
    coefficients = jax.lax.optimization_barrier(
        {path: dict(values) for path, values in coefficients.items()}
    )
    merged = {}
    for path, first in leaves[0].items():
        layers = first.shape[:1] if path in stacked else ()
        key = leaf_key(seed, path)
        if layers:
            key = layer_keys(key, *layers)
        leaf = operator.merge(
            bases.get(path),
            tuple(on_base(bases.get(path), source[path]) for source in leaves),
            _coefficients(operator, coefficients, path, len(sources), layers),
            statistics[path],
            key,
        )
        merged[path] = leaf.astype(dtype or bases.get(path, first).dtype)
    return unflatten(merged)


def make_merge(operator: Operator, stacked: Collection[str] = ()) -> Callable[..., Params]:
    """Make a jitted ``fn(buffer, base, sources, coefficients, statistics, seed)`` like `merge`.

    ``buffer`` is a tree like the result, usually the previous candidate, that is given up to hold
    the result. Without one, most of the time goes into the pages of a fresh result.
    """

    def fn(
        buffer: Params,
        base: Params | None,
        sources: tuple[Params, ...],
        coefficients: Mapping[str, Coefficients],
        statistics: Statistics,
        seed: UInt32[Array, ""],
    ) -> Params:
        del buffer
        return merge(operator, base, sources, coefficients, statistics, seed, stacked=stacked)

    return jax.jit(fn, donate_argnums=0, keep_unused=True)


def constant_coefficients(
    operator: Operator, params: Params, sources: int, **values: float
) -> dict[str, Coefficients]:
    """Give every source and leaf the same coefficients; the operator's defaults are the rest.

    Raises:
        ValueError: The operator has no coefficient of a given name.
    """
    known = {coefficient.name for coefficient in operator.coefficients}
    if unknown := values.keys() - known:
        raise ValueError(
            f"{operator.name} has no coefficient {sorted(unknown)}, only {sorted(known)}"
        )
    one_leaf: dict[str, Any] = {
        coefficient.name: np.full(
            (sources,) if coefficient.per_source else (),
            values.get(coefficient.name, coefficient.default),
            np.float32,
        )
        for coefficient in operator.coefficients
    }
    return {path: dict(one_leaf) for path in flatten(params)}


def _kept(
    operator: Operator,
    base: Params | None,
    sources: tuple[Params, ...],
    entry: Entry | None,
    stacked: Collection[str],
) -> Statistics | None:
    arrays = None if entry is None else entry.read()
    if arrays is None:
        return None
    statistics = {}
    example = _example(operator, base, sources, stacked)
    for path in flatten(sources[0]):
        leaves, structure = jax.tree.flatten(example(path))
        names = [f"{path} {index}" for index in range(len(leaves))]
        if not arrays.keys() >= set(names):
            return None
        statistics[path] = jax.tree.unflatten(
            structure, [jax.device_put(arrays[name]) for name in names]
        )
    return statistics


def _shapes(
    operator: Operator,
    base: Params | None,
    sources: tuple[Params, ...],
    evidence: Evidence | None,
    stacked: Collection[str],
) -> Statistics:
    """The shapes of the statistics of trees that are shapes; alike leaves are looked at once."""
    bases = flatten(base) if base is not None else {}
    leaves = [flatten(source) for source in sources]
    of_leaf = _leaf_evidence(operator, evidence, len(sources))
    known: dict[Any, Any] = {}
    statistics = {}
    for path in leaves[0]:
        given = (
            bases.get(path),
            tuple(on_base(bases.get(path), source[path]) for source in leaves),
            path in stacked,
            *of_leaf(path),
        )
        kind = jax.tree.structure(given), *map(_as_key, jax.tree.leaves(given))
        if kind not in known:
            known[kind] = shapes_of(operator, *given)
        statistics[path] = known[kind]
    return statistics


def _as_key(leaf: Any) -> Any:
    return (tuple(leaf.shape), str(leaf.dtype)) if hasattr(leaf, "shape") else leaf


def _example(
    operator: Operator,
    base: Params | None,
    sources: tuple[Params, ...],
    stacked: Collection[str],
) -> Callable[[str], Any]:
    """A function from a leaf's path to the statistics of the smallest leaf there can be.

    Those of the leaf have the same structure.
    """
    axes = {path: len(leaf.shape) for path, leaf in flatten(sources[0]).items()}

    def example(path: str) -> Any:
        tiny = np.zeros((1,) * axes[path], np.float32)
        origin = None if base is None else tiny
        return operator.init(origin, (tiny,) * len(sources), path in stacked)

    return example


def _leaf_evidence(
    operator: Operator, evidence: Evidence | None, sources: int
) -> Callable[[str], tuple[Any, ...]]:
    """A function from a leaf's path to the further argument of ``init``, if it takes one."""
    if operator.evidence is None:
        return lambda path: ()
    if evidence is None or len(evidence) != sources:
        raise ValueError(
            f"{operator.name} needs the {operator.evidence.kind} evidence of each of the {sources} "
            f"sources, got {'none' if evidence is None else len(evidence)}; collect it with "
            "evojax_merge.sources.evidence.collect"
        )
    return lambda path: (tuple(one.get(path) for one in evidence),)


def _coefficients(
    operator: Operator,
    coefficients: Mapping[str, Coefficients],
    path: str,
    sources: int,
    layers: tuple[int, ...],
) -> Coefficients:
    if path not in coefficients:
        raise ValueError(f"{path}: no coefficients for this leaf")
    values = {}
    for coefficient in operator.coefficients:
        if coefficient.name not in coefficients[path]:
            raise ValueError(f"{path}: coefficient {coefficient.name} is missing")
        value = jnp.asarray(coefficients[path][coefficient.name], jnp.float32)
        whole = (sources,) if coefficient.per_source else ()
        allowed = [whole, (*whole, *layers)] if layers else [whole]
        if value.shape not in allowed:
            raise ValueError(
                f"{path}: coefficient {coefficient.name} has shape {value.shape}, "
                f"expected {' or '.join(map(str, allowed))}"
            )
        values[coefficient.name] = value
    return values
