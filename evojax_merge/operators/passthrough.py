"""Passthrough of one source (Goddard et al., 2024, mergekit), https://arxiv.org/abs/2403.13257"""

from evojax_merge.operators.base import (
    Coefficient,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    float32,
    no_statistics,
    spread,
)
from evojax_merge.params.types import Array, Float

SCALE = Coefficient("scale", 0.0, 2.0, 1.0, per_source=False, description="factor of the source")


def passthrough() -> Operator:
    """One source times a scale.

    The coefficient is ``scale``, which is usually in [0, 2] and starts at 1; 1 gives the source's
    own bits.

    References:
        C. Goddard et al., Arcee's MergeKit, arXiv 2403.13257.
    """

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        (source,) = sources
        return spread(coefficients["scale"], source.ndim) * float32(source)

    return Operator(
        name="passthrough",
        coefficients=(SCALE,),
        init=no_statistics,
        merge=merge,
        needs_base=False,
        sources=(1, 1),
    )
