"""SCE (Wan et al., 2024, FuseChat), https://arxiv.org/abs/2408.07990"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.documents.arguments import check_number
from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    float32,
    spread,
    task_vectors,
)
from evojax_merge.operators.magmax import WEIGHT
from evojax_merge.operators.statistics import (
    Tensors,
    cuts_of,
    held,
    in_pieces,
    orders_of_variance,
    stack_layers,
    variance_of,
)
from evojax_merge.operators.steps.cuts import EVERYTHING, GRID, grid_counts, grid_step, take
from evojax_merge.params.types import Array, Bool, Float

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


class SelectedAt(NamedTuple):
    """Which elements are selected at one fraction, and the sources' energies in them.

    Attributes:
        mask: Whether an element is selected.
        energy: The mean square of each source's selected task vector.
    """

    mask: Bool[Array, "..."]
    energy: Float[Array, " sources *layers"]

    def at(self, fraction: Any) -> "SelectedAt":
        """Return this selection, whatever the fraction: the one it was made for is known."""
        del fraction
        return self


class Selected(NamedTuple):
    """A table of which elements vary most, and of the sources' energies in what is selected.

    Attributes:
        step: The first density of the grid, in steps, at which an element is selected; uint16.
        energy: The mean square of each source's selected task vector at each density.
    """

    step: Array
    energy: Float[Array, "*layers sources grid"]

    def at(self, fraction: Float[Array, " *layers"]) -> SelectedAt:
        """What is selected at a fraction, one for all layers or one for each."""
        layers = self.energy.shape[:-2]
        step = grid_step(fraction, layers)
        energy = take(jnp.moveaxis(self.energy, -1, len(layers)), step)
        mask = self.step <= spread(step, self.step.ndim).astype(jnp.uint16)
        mask &= spread(step, self.step.ndim) > 0
        return SelectedAt(mask, jnp.moveaxis(energy, -1, 0))


def sce(lam: float = 1.0) -> Operator:
    """Select the elements of greatest variance, weigh sources by energy, erase minority signs.

    One coefficient is ``select_topk``, the fraction selected of those elements that vary at all, in
    steps of 1/1000; it is usually in [0, 1] and starts at 0.5. The other is the ``weight`` of each
    source, which multiplies its energy; it is usually in [0, 1] and starts at 1 (the method
    itself). Negative weights subtract. The sum that is divided by is that of absolute values, as in
    `elect`, so that nothing blows up.

    References:
        Wan et al., FuseChat: knowledge fusion of chat models, arXiv 2408.07990, section 3.3; with
        the variance over sources, thresholds and order of mergekit 0.1.5. Weights are ours.

    Args:
        lam: The scale of the merged task vector.
    """
    check_number("sce: lam", lam)

    def init(base: Leaf, sources: tuple[Source, ...], layered: bool) -> Selected:
        shape = np.shape(base)[int(layered) :]
        of_layer = orders_of_variance(base, sources, layered)

        def one(layer: int) -> tuple[Any, np.ndarray]:
            order, vectors = of_layer(layer)
            counts = grid_counts(order.size - order.zeros)  # of those that vary
            counts[GRID] = order.size
            first = order.first(counts)
            energy = order.sums_of(vectors, counts, power=2) / order.size
            return first.reshape(shape), energy.astype(np.float32)

        return Selected(*stack_layers(one, base, layered))

    def merge(
        base: Leaf,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Selected | SelectedAt,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        selected, energy = statistics.at(coefficients["select_topk"])
        total = energy.sum(axis=0)
        usable = (total >= SMALLEST_ENERGY)[None]
        weights = jnp.where(
            usable, energy / jnp.where(usable, total[None], 1.0), 1.0 / len(sources)
        )
        given = coefficients["weight"]
        weights = weights * given.reshape(given.shape + (1,) * (weights.ndim - given.ndim))

        ndim = selected.ndim
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
        init_fixed=_init_fixed,
    )


def _init_fixed(
    tensors: Tensors, coefficients: Mapping[str, Any]
) -> Callable[[int, int], SelectedAt]:
    fraction = coefficients["select_topk"]
    size = tensors.size
    variance = np.empty(size if fraction < 1 else 0, np.float32)
    cut = EVERYTHING

    if fraction < 1:
        for first, vectors in tensors.task_vectors():
            variance[first : first + vectors[0].size] = variance_of(vectors)
        ((cut,),) = cuts_of(in_pieces(variance), [[int(fraction * np.count_nonzero(variance))]])

    def chosen(first: int, count: int) -> np.ndarray:
        if fraction >= 1:
            return np.ones(count, bool)
        return held(cut, first, variance[first : first + count])

    squares = np.zeros(len(tensors.sources))
    for first, vectors in tensors.task_vectors():
        mask = chosen(first, vectors[0].size)
        squares += [np.square(vector[mask], dtype=np.float64).sum() for vector in vectors]
    energy: Any = (squares / size).astype(np.float32)

    def at(first: int, count: int) -> SelectedAt:
        mask = np.zeros(count, bool)  # behind the tensor's last element come any others
        inside = min(count, size - first)
        mask[:inside] = chosen(first, inside)
        return SelectedAt(mask, energy)  # type: ignore[arg-type]

    return at
