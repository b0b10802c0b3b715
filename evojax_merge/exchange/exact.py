"""Statistics for the very fractions that a file asks for, where a search keeps a table of them.

A search draws densities from a grid of 1/1000 and looks each up in a table. A file has one density
for a tensor, on the grid or not, so that one selection gives the cut that mergekit makes:
int(density x n) elements. On the grid it is the table's entry, to the bit.

Tensors are read a piece at a time, as often as it takes: what is kept of them is small, but for the
variances of sce and the ranks of della.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.arcee_fusion import Importance, divergences
from evojax_merge.operators.base import Operator
from evojax_merge.operators.sce import Selected
from evojax_merge.operators.statistics.numbers import variance_of
from evojax_merge.operators.statistics.on_file import EVERYTHING, NONE, cuts
from evojax_merge.operators.statistics.ordering import rank
from evojax_merge.operators.statistics.pieces import PIECE
from evojax_merge.operators.steps.cuts import SMALLEST_NORM, Cut, element_index
from evojax_merge.types import Array, Bool, Float

Found = Callable[[int, Any, Sequence[np.ndarray]], Any]
"""From the place of a piece, the base's elements and the sources': what its merge looks up."""

ROWS = 2**15
"""Elements of the rows that are measured at once, in float64: few enough to stay in the cache."""


class FixedTrim(NamedTuple):
    """A `Trim` that knows one density, of a piece that begins at ``first``."""

    cut: Cut
    rescale: Any = np.float32(1.0)
    first: Any = np.uint32(0)

    def at(self, density: Any) -> "FixedTrim":
        """The entry for the density that this was made for."""
        del density
        return self

    def keeps(self, task_vector: Float[Array, "..."]) -> Bool[Array, "..."]:
        """The mask of the elements kept."""
        return self.cut.holds(jnp.abs(task_vector), _ranks(self.first, task_vector))


class FixedBand(NamedTuple):
    """A `Band` that knows one pair of fractions, of a piece that begins at ``first``."""

    upper: Cut
    lower: Cut
    kept: Any = np.float32(1.0)
    total: Any = np.float32(1.0)
    largest_kept: Any = np.float32(1.0)
    largest: Any = np.float32(1.0)
    first: Any = np.uint32(0)

    def at(self, gamma: Any, density: Any) -> "FixedBand":
        """The cuts for the fractions that this was made for."""
        del gamma, density
        return self

    def keeps(self, task_vector: Float[Array, "..."]) -> Bool[Array, "..."]:
        """The mask of the elements kept."""
        magnitude, order = jnp.abs(task_vector), _ranks(self.first, task_vector)
        return self.lower.holds(magnitude, order) & ~self.upper.holds(magnitude, order)


def statistics(
    operator: Operator,
    shape: tuple[int, ...],
    base: Any,
    sources: tuple[Any, ...],
    coefficients: Mapping[str, Any],
    static: Mapping[str, Any],
) -> tuple[Found, Mapping[str, Any]]:
    """What ``operator.merge`` looks up for the pieces of a tensor, and with which coefficients.

    Args:
        operator: From one of the factories of `evojax_merge.operators`.
        shape: Of the tensor.
        base: The tensor of the base, if any: an array, or on disk.
        sources: Of the sources; all are flat where the merge is, too.
        coefficients: Numbers by name, one for each source or one for all.
        static: Arguments of the factory: whether to ``rescale``, i.e. whether trimmed task vectors
            get their l1 norm back, and the ``epsilon`` of ramplus.
    """
    rescaled = bool(static.get("rescale", False))
    if operator.name == "ties":
        trims = _trims(base, sources, coefficients["density"], rescaled)
        return _placed(trims), coefficients
    if operator.name in ("breadcrumbs", "breadcrumbs_ties"):
        fractions = list(zip(coefficients["density"], coefficients["gamma"], strict=True))
        return _placed(_bands(base, sources, fractions, rescaled)), coefficients
    if operator.name == "sce":
        selected = _selected(base, sources, coefficients["select_topk"])
        return selected, {**coefficients, "select_topk": 1.0}
    if operator.name == "ramplus":
        found: Any = _shares(base, sources, static["epsilon"])
    elif operator.name == "arcee_fusion":
        return _importance(shape, base, sources[0]), coefficients
    else:
        # The result shows NaN and infinity. (This thread computes it: the tensor has no layers.)
        with np.errstate(invalid="ignore", over="ignore"):
            found = operator.init(base, sources, False)
    return lambda first, base, sources: found, coefficients


def _ranks(first: Any, like: Any) -> Any:
    return rank(element_index(like.shape, False) + first)


def _holds(cut: Cut, magnitude: Any, order: Any) -> np.ndarray:
    """On the host."""
    return np.asarray(cut.holds(magnitude, order))


def _placed(parts: Sequence[Any]) -> Found:
    return lambda first, base, sources: tuple(
        part._replace(first=np.uint32(first)) for part in parts
    )


def _pieces(base: Any, sources: Sequence[Any]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Task vectors in float32: the same numbers as in the merge."""
    size = base.shape[0]
    for first in range(0, size, PIECE):
        part = slice(first, min(first + PIECE, size))
        origin = base[part].astype(np.float32)
        yield first, [source[part].astype(np.float32) - origin for source in sources]


def _magnitudes(base: Any, sources: Sequence[Any]) -> Iterator[tuple[int, list[np.ndarray]]]:
    for first, vectors in _pieces(base, sources):
        yield first, [np.abs(vector, out=vector) for vector in vectors]


def _trims(
    base: Any, sources: Sequence[Any], densities: Sequence[float], rescaled: bool
) -> list[FixedTrim]:
    size = base.shape[0]
    trims = [FixedTrim(EVERYTHING if density >= 1 else NONE) for density in densities]
    asked = [index for index, density in enumerate(densities) if 0 < density < 1]
    if not asked:
        return trims
    chosen = [sources[index] for index in asked]
    counts = [[max(1, int(densities[index] * size))] for index in asked]
    found = [own[0] for own in cuts(lambda: _magnitudes(base, chosen), counts)]
    sums = _sums(base, chosen, [(NONE, cut) for cut in found]) if rescaled else None
    sums = sums or [(1.0, 1.0)] * len(found)
    for index, cut, (kept, total) in zip(asked, found, sums, strict=True):
        factor = total / kept if kept >= SMALLEST_NORM else 1.0
        trims[index] = FixedTrim(cut, np.float32(factor))
    return trims


def _bands(
    base: Any, sources: Sequence[Any], fractions: Sequence[tuple[float, float]], rescaled: bool
) -> list[FixedBand]:
    size = base.shape[0]
    bands = [FixedBand(NONE, EVERYTHING) for _ in fractions]
    asked = [index for index, (density, _) in enumerate(fractions) if density < 1]
    if not asked:
        return bands
    chosen = [sources[index] for index in asked]
    counts = []
    for index in asked:
        density, gamma = fractions[index]
        kept = int(density * size)
        dropped = min(int(gamma * size), size - kept)
        counts.append([dropped, dropped + kept])
    found = [(upper, lower) for upper, lower in cuts(lambda: _magnitudes(base, chosen), counts)]
    sums = _sums(base, chosen, found) if rescaled else [(1.0, 1.0)] * len(found)
    for index, (upper, lower), (after, before) in zip(asked, found, sums, strict=True):
        bands[index] = FixedBand(upper, lower, np.float32(after), np.float32(before))
    return bands


def _sums(
    base: Any, sources: Sequence[Any], bounds: Sequence[tuple[Cut, Cut]]
) -> list[tuple[float, float]]:
    """Of the magnitudes between two cuts, and of all."""
    sums = np.zeros((len(sources), 2))
    for first, magnitudes in _magnitudes(base, sources):
        order = rank(np.arange(first, first + magnitudes[0].size, dtype=np.uint32))
        for row, magnitude, (upper, lower) in zip(sums, magnitudes, bounds, strict=True):
            kept = _holds(lower, magnitude, order) & ~_holds(upper, magnitude, order)
            row += magnitude[kept].sum(dtype=np.float64), magnitude.sum(dtype=np.float64)
    return [(kept, total) for kept, total in sums]


def _selected(base: Any, sources: Sequence[Any], fraction: float) -> Found:
    """Elements kept have the first step of all, the others none that there is."""
    size = base.shape[0]
    variance = np.empty(size if fraction < 1 else 0, np.float32)
    cut = EVERYTHING
    if fraction < 1:
        for first, vectors in _pieces(base, sources):
            variance[first : first + vectors[0].size] = variance_of(vectors)
        count = int(fraction * np.count_nonzero(variance))

        def pieces() -> Iterator[tuple[int, list[np.ndarray]]]:
            for first in range(0, size, PIECE):
                yield first, [variance[first : first + PIECE]]

        ((cut,),) = cuts(pieces, [[count]])

    def chosen(first: int, count: int) -> np.ndarray:
        if fraction >= 1:
            return np.ones(count, bool)
        order = rank(np.arange(first, first + count, dtype=np.uint32))
        return _holds(cut, variance[first : first + count], order)

    energy = np.zeros(len(sources))
    for first, vectors in _pieces(base, sources):
        mask = chosen(first, vectors[0].size)
        energy += [np.square(vector[mask], dtype=np.float64).sum() for vector in vectors]
    table = np.broadcast_to((energy / size).astype(np.float32)[:, None], (len(sources), 1001))

    def found(first: int, base: Any, sources: Sequence[np.ndarray]) -> Selected:
        step = np.full(base.size, np.iinfo(np.uint16).max, np.uint16)
        count = min(base.size, size - first)
        step[:count][chosen(first, count)] = 1
        return Selected(step, table)  # type: ignore[arg-type]

    return found


def _shares(base: Any, sources: Sequence[Any], epsilon: float) -> tuple[np.float32, ...]:
    """Of each source: elements that others changed too, over those that it alone changed."""
    limit = np.float32(epsilon)
    own, all_ = np.zeros((2, len(sources)), np.int64)
    for _, magnitudes in _magnitudes(base, sources):
        changed = np.stack([magnitude > limit for magnitude in magnitudes])
        alone = changed.sum(axis=0) == 1
        own += np.count_nonzero(changed & alone, axis=1)
        all_ += np.count_nonzero(changed, axis=1)
    least = max(epsilon, float(np.finfo(np.float32).tiny))
    return tuple(((all_ - own) / np.maximum(own, least)).astype(np.float32))


def _importance(shape: tuple[int, ...], base: Any, source: Any) -> Found:
    """The divergence of each row, a few rows at a time, and the quartiles of all elements."""
    width = shape[-1]
    size = base.shape[0]
    step = max(1, ROWS // width) * width
    divergence = np.empty(size // width, np.float32)
    for first in range(0, size, step):
        part = slice(first, min(first + step, size))
        end, origin = (tensor[part].reshape(-1, width) for tensor in (source, base))
        divergence[first // width : part.stop // width] = divergences(end, origin)[:, 0]

    def spread(first: int, count: int) -> np.ndarray:
        row = np.arange(first // width, (first + count - 1) // width + 1)
        held = np.repeat(divergence[np.minimum(row, divergence.size - 1)], width)
        return held[first % width :][:count]

    def pieces() -> Iterator[tuple[int, list[np.ndarray]]]:
        for first, (magnitude,) in _magnitudes(base, (source,)):
            yield first, [magnitude * spread(first, magnitude.size)]

    # mergekit's quartile q is the element at int(q (n - 1)) in rising order.
    ascending = (np.array([0.25, 0.5, 0.75]) * (size - 1)).astype(np.int64)
    (found,) = cuts(pieces, [[int(size - place) for place in ascending]])
    low, median, high = (cut.threshold for cut in found)
    between: Any = high - low

    def importance(first: int, base: Any, sources: Sequence[np.ndarray]) -> Importance:
        return Importance(spread(first, base.size), median, between)  # type: ignore[arg-type]

    return importance
