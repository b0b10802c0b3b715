"""Linear average (Wortsman et al., 2022), https://arxiv.org/abs/2203.05482"""

from evojax_merge.documents.arguments import check_switch
from evojax_merge.operators.base import (
    WEIGHT,
    Coefficients,
    Leaf,
    LeafKey,
    Operator,
    Source,
    divisor,
    float32,
    no_statistics,
    weighted_sum,
)
from evojax_merge.params.types import Array, Float


def linear(normalize: bool = True) -> Operator:
    """The sum of weight x source, over the sum of weights if ``normalize``.

    The coefficient is the ``weight`` of each source, any number, which is usually in [0, 1] and
    starts at 0.5.

    References:
        Wortsman et al., Model soups, arXiv 2203.05482: the uniform soup is equal weights.

    Args:
        normalize: Divide by the sum of weights, by 1 where that sum is below 1e-8.
    """
    check_switch("linear: normalize", normalize)

    def merge(
        base: Leaf | None,
        sources: tuple[Source, ...],
        coefficients: Coefficients,
        statistics: tuple[()],
        key: LeafKey,
    ) -> Float[Array, "..."]:
        weights = coefficients["weight"]
        if normalize:
            weights = weights / divisor(weights.sum(axis=0, keepdims=True))
        return weighted_sum([float32(source) for source in sources], weights)

    return Operator(
        name="linear",
        coefficients=(WEIGHT,),
        init=no_statistics,
        merge=merge,
        needs_base=False,
        sources=(1, None),
    )
