"""SCE (Wan et al., 2024, FuseChat), https://arxiv.org/abs/2408.07990"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.arguments import check_number
from evojax_merge.low_rank import Adapted
from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    float32,
    spread,
    task_vectors,
)
from evojax_merge.operators.magmax import WEIGHT
from evojax_merge.operators.statistics import on_device
from evojax_merge.operators.statistics.numbers import Numbers, rows, task_vector_row, variance_of
from evojax_merge.operators.statistics.selection import (
    common_buckets,
    first_set,
    sums_of_sets,
)
from evojax_merge.operators.steps.cuts import GRID, grid_counts, grid_step, stack_layers, take
from evojax_merge.types import Array, Float

SMALLEST_ENERGY = 1e-6
SMALLEST_DIVISOR = 1e-6

SELECT = Coefficient(
    "select_topk",
    0.0,
    1.0,
    0.5,
    per_source=False,
    description="fraction of elements kept, those that vary most between sources",
    domain=(0.0, 1.0),
)


class Selected(NamedTuple):
    """Which elements vary most, and the sources' energies in what is selected.

    Attributes:
        step: First density of the grid, in steps, at which an element is selected; uint16.
        energy: Mean square of each source's selected task vector at each density.
    """

    step: Array
    energy: Float[Array, "*layers sources grid"]


def sce(lam: float = 1.0) -> Operator:
    """Select the elements of greatest variance, weigh sources by energy, erase minority signs.

    Coefficients: ``select_topk``, the fraction selected of those elements that vary at all, in
    steps of 1/1000, usually in [0, 1], start 0.5; ``weight`` of each source, which multiplies its
    energy, usually in [0, 1], start 1 (the method itself); negative ones subtract, and the sum that
    is divided by is that of absolute values, as in `elect`, so that nothing blows up.

    References:
        Wan et al., FuseChat: knowledge fusion of chat models, arXiv 2408.07990, section 3.3; with
        the variance over sources, thresholds and order of mergekit 0.1.5. Weights are ours.

    Args:
        lam: Scale of the merged task vector.
    """
    check_number("sce: lam", lam)

    def init(base: Leaf, sources: tuple[Leaf, ...], layered: bool) -> Selected:
        shape = np.shape(base)[int(layered) :]
        there = on_device.pays((base, *sources), int(np.prod(shape)), len(sources))
        buckets = None
        if layered and not there and not _made_here(base, sources):
            whole, _ = variances(base, sources, False, 0)
            buckets = common_buckets(whole, len(rows(base, layered)))

        def one(layer: int) -> tuple[Any, np.ndarray]:
            if there:
                return selected_on_device(
                    [on_device.task_vector(base, s, layered, layer) for s in sources], shape
                )
            numbers, vectors = variances(base, sources, layered, layer)
            size = numbers.size
            first = first_set(numbers, lambda zeros: counts_of(size, size - zeros), buckets)
            energy = sums_of_sets(first, GRID + 1, vectors, power=2) / size
            return first.reshape(shape), energy.astype(np.float32)

        return Selected(*stack_layers(one, base, layered))

    def merge(
        base: Leaf,
        sources: tuple[Leaf, ...],
        coefficients: Coefficients,
        statistics: Selected,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        layers = statistics.energy.shape[:-2]
        step = grid_step(coefficients["select_topk"], layers)
        energy = take(jnp.moveaxis(statistics.energy, -1, len(layers)), step)
        energy = jnp.moveaxis(energy, -1, 0)
        total = energy.sum(axis=0)
        usable = (total >= SMALLEST_ENERGY)[None]
        weights = jnp.where(
            usable, energy / jnp.where(usable, total[None], 1.0), 1.0 / len(sources)
        )
        given = coefficients["weight"]
        weights = weights * given.reshape(given.shape + (1,) * (weights.ndim - given.ndim))

        ndim = statistics.step.ndim
        selected = statistics.step <= spread(step, ndim).astype(jnp.uint16)
        selected &= spread(step, ndim) > 0
        vectors = [jnp.where(selected, vector, 0.0) for vector in task_vectors(base, sources)]
        positive = sum(vectors[1:], vectors[0]) >= 0
        agrees = [jnp.where(positive, vector > 0, vector < 0) for vector in vectors]
        sizes = [
            jnp.where(agree, spread(weight, ndim), 0.0)
            for agree, weight in zip(agrees, weights, strict=True)
        ]
        terms = [size * vector for size, vector in zip(sizes, vectors, strict=True)]
        total = sum((jnp.abs(size) for size in sizes[1:]), jnp.abs(sizes[0]))
        below = jnp.maximum(total, SMALLEST_DIVISOR)
        return float32(base) + lam * sum(terms[1:], terms[0]) / below

    return Operator(
        name="sce",
        coefficients=(SELECT, WEIGHT),
        init=init,
        merge=merge,
        needs_base=True,
        sources=(1, None),
        statistics_name="sce, equal ones do not vary",
    )


def counts_of(elements: int, varying: int) -> np.ndarray:
    """How many elements are selected at every density of the grid: of those that vary."""
    counts = grid_counts(varying)
    counts[GRID] = elements
    return counts


def selected_on_device(
    vectors: Sequence[Float[Array, "elements"]], shape: tuple[int, ...]
) -> tuple[Array, np.ndarray]:
    """``step`` and ``energy`` of `Selected` for one layer whose task vectors lie on a GPU."""
    variance = on_device.variance_of(vectors)
    counts = counts_of(variance.size, int(jnp.count_nonzero(variance)))
    ordered = on_device.Ordered(variance)
    sums = ordered.sums(counts, [vector * vector for vector in vectors])
    energy = (sums / variance.size).astype(np.float32)
    return ordered.first_cut(counts).reshape(shape), energy


def variances(
    base: Leaf, sources: tuple[Leaf, ...], layered: bool, layer: int
) -> tuple[Numbers, list[Any]]:
    """The variance of each element of one layer over the sources, and their task vectors.

    What needs no adapter's product is made where it is used.
    """
    if _made_here(base, sources):
        vectors = [task_vector_row(base, source, layered, layer) for source in sources]
        return Numbers((variance_of(vectors),)), vectors
    origin, *ends = (rows(leaf, layered)[layer] for leaf in (base, *sources))
    return Numbers.variance(ends, origin), [Numbers((end,), origin) for end in ends]


def _made_here(base: Leaf, sources: tuple[Leaf, ...]) -> bool:
    """Whether the task vectors are made first: an adapter's, and one source's alone."""
    return len(sources) == 1 or any(isinstance(leaf, Adapted) for leaf in (base, *sources))
