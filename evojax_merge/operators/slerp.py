"""Spherical linear interpolation (Shoemake, 1985), https://doi.org/10.1145/325165.325242"""

from evojax_merge.documents.arguments import check_number
from evojax_merge.operators.base import Coefficient, Coefficients, Leaf, LeafKey, Operator, Source
from evojax_merge.operators.statistics import geometry, geometry_name
from evojax_merge.operators.steps.span import Geometry, combine, per_vector
from evojax_merge.operators.steps.sphere import arc
from evojax_merge.params.types import Array, Float

ORTHOGONAL_BELOW = 1e-8
"""A shorter vector has no direction: it counts as orthogonal to every other."""

T = Coefficient(
    "t", 0.0, 1.0, 0.5, per_source=False, description="0 is the first source, 1 the second"
)


def slerp(dot_threshold: float = 0.9995) -> Operator:
    """sin((1 - t) theta) / sin(theta) x first + sin(t theta) / sin(theta) x second.

    Theta is the angle between the two tensors, each taken as one vector (each layer of a stacked
    leaf by itself). It does not depend on t and is computed once. The coefficient is ``t``, which
    is usually in [0, 1] and starts at 0.5.

    References:
        Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985. The fallback to linear
        interpolation follows mergekit.

    Args:
        dot_threshold: Interpolate linearly where abs(cos theta) is above this.
    """
    check_number("slerp: dot_threshold", dot_threshold, 0.0, 1.0)

    def init(base: Leaf | None, sources: tuple[Source, ...], layered: bool) -> Geometry:
        return geometry(None, sources, layered, smallest_norm=ORTHOGONAL_BELOW)

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: Geometry,
        key: LeafKey,
    ) -> Float[Array, "..."]:
        t = per_vector(coefficients["t"][None], statistics)[0]
        return combine(sources, arc(statistics.apart[0, 1], t, 1.0 - dot_threshold))

    return Operator(
        name="slerp",
        coefficients=(T,),
        init=init,
        merge=merge,
        needs_base=False,
        sources=(2, 2),
        statistics_name=geometry_name(smallest_norm=ORTHOGONAL_BELOW),
    )
