"""Statistics for the very fractions that a file asks for, where a search keeps a table of them.

A search draws densities from a grid of 1/1000 and looks each up in a table. A file has one density
for a tensor, on the grid or not, so that one selection gives the cut that mergekit makes:
int(density x n) elements. On the grid it is the table's entry, to the bit.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from evojax_merge.operators.base import Operator
from evojax_merge.operators.host import task_vector_row
from evojax_merge.operators.magnitude import SMALLEST_NORM, BandCut, Cut, Trim
from evojax_merge.operators.order_statistics import ALL, rank, select
from evojax_merge.operators.sce import Selected
from evojax_merge.types import Array

_float: Any = np.float32
"""Numbers on the host, where the operators' types want arrays."""
_order: Any = np.uint32

NONE = Cut(_float(np.inf), _order(0))
EVERYTHING = Cut(_float(-1.0), _order(ALL))


class FixedTrim(NamedTuple):
    """A `Trim` that knows one density."""

    cut: Cut
    rescale: Array

    def at(self, density: Any) -> Trim:
        """The entry for the density that this was made for."""
        del density
        return Trim(self.cut, jnp.asarray(self.rescale))


class FixedBand(NamedTuple):
    """A `Band` that knows one pair of fractions."""

    cut: BandCut

    def at(self, gamma: Any, density: Any) -> BandCut:
        """The cuts for the fractions that this was made for."""
        del gamma, density
        return BandCut(*self.cut[:2], *(jnp.asarray(x) for x in self.cut[2:]))


def statistics(
    operator: Operator,
    base: Any,
    sources: tuple[Any, ...],
    coefficients: Mapping[str, Any],
    rescaled: bool,
) -> tuple[Any, Mapping[str, Any]]:
    """What ``operator.merge`` looks up for one tensor, and the coefficients to look it up with.

    Args:
        operator: From one of the factories of `evojax_merge.operators`.
        base: The tensor of the base, if any.
        sources: Of the sources.
        coefficients: Numbers by name, one for each source or one for all.
        rescaled: Whether trimmed task vectors get their l1 norm back.
    """
    if operator.name == "ties":
        trims = tuple(
            _trim(base, source, density, rescaled)
            for source, density in zip(sources, coefficients["density"], strict=True)
        )
        return trims, coefficients
    if operator.name in ("breadcrumbs", "breadcrumbs_ties"):
        fractions = zip(sources, coefficients["density"], coefficients["gamma"], strict=True)
        bands = tuple(_band(base, source, d, g, rescaled) for source, d, g in fractions)
        return bands, coefficients
    if operator.name == "sce":
        found = _selected(base, sources, coefficients["select_topk"])
        return found, {**coefficients, "select_topk": 1.0}
    return operator.init(base, sources, False), coefficients


def _trim(base: Any, source: Any, density: float, rescaled: bool) -> FixedTrim:
    one = _float(1.0)
    if density >= 1 or density <= 0:
        return FixedTrim(EVERYTHING if density >= 1 else NONE, one)
    magnitude = np.abs(task_vector_row(base, source, False, 0))
    count = max(1, int(density * magnitude.size))
    found = select(magnitude, np.array([count]), (magnitude,) if rescaled else ())
    factor = one
    if rescaled and found.sums[0, 0] >= SMALLEST_NORM:
        factor = _float(magnitude.sum(dtype=np.float64) / found.sums[0, 0])
    return FixedTrim(Cut(found.threshold[0], found.cutoff[0]), factor)


def _band(base: Any, source: Any, density: float, gamma: float, rescaled: bool) -> FixedBand:
    one = _float(1.0)
    if density >= 1:
        return FixedBand(BandCut(NONE, EVERYTHING, one, one, one, one))
    magnitude = np.abs(task_vector_row(base, source, False, 0))
    kept = int(density * magnitude.size)
    dropped = min(int(gamma * magnitude.size), magnitude.size - kept)
    found = select(magnitude, np.array([dropped, dropped + kept]), (magnitude,) if rescaled else ())
    after, before = one, one
    if rescaled:
        after = _float(found.sums[0, 1] - found.sums[0, 0])
        before = _float(magnitude.sum(dtype=np.float64))
    upper, lower = (Cut(found.threshold[i], found.cutoff[i]) for i in (0, 1))
    return FixedBand(BandCut(upper, lower, after, before, one, one))


def _selected(base: Any, sources: tuple[Any, ...], fraction: float) -> Selected:
    """Elements kept have the first step of all, the others none that there is."""
    vectors = np.stack([task_vector_row(base, source, False, 0) for source in sources])
    chosen = np.ones(vectors.shape[1], bool)
    if fraction < 1:
        variance = np.var(vectors, axis=0)
        count = int(fraction * np.count_nonzero(variance))
        found = select(variance, np.array([count]))
        ranks = rank(np.arange(variance.size, dtype=np.uint32))
        chosen = (variance > found.threshold[0]) | (
            (variance == found.threshold[0]) & (ranks <= found.cutoff[0])
        )
    energy = [np.dot(v * chosen, v) / v.size for v in vectors.astype(np.float64)]
    step = np.where(chosen, np.uint16(1), np.uint16(np.iinfo(np.uint16).max))
    table = np.broadcast_to(np.array(energy, np.float32)[:, None], (len(sources), 1001))
    return Selected(jnp.asarray(step.reshape(np.shape(base))), jnp.asarray(table))
