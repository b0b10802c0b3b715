"""WUDI (Cheng et al., 2025), https://arxiv.org/abs/2503.08099"""

import numpy as np

from evojax_merge.operators.base import Coefficient, Operator
from evojax_merge.operators.matrices import merging_parts
from evojax_merge.operators.statistics import svd

WEIGHT = Coefficient(
    "weight", 0.0, 2.0, 1.0, description="factor of a source's part; 1 is the paper's"
)


def wudi() -> Operator:
    """The task vector that interferes least with the inputs that the sources were trained on.

    The rows of a task vector T_i [outputs, inputs] span the inputs of its task, so that the merged
    task vector T makes sum_i |(T - T_i) T_i^T|^2 / |T_i|^2 least. With G_i = T_i^T T_i / |T_i|^2 it
    is T = (sum_i T_i G_i) (sum_i G_i)^+, the least one of those that do. The part of source i in it
    is T_i G_i (sum_j G_j)^+, and the merge is base + sum of weight_i x part. Other tensors are
    merged as base + mean of weight_i x task vector. The coefficient is the ``weight`` of each
    source, which is usually in [0, 2] and starts at 1 (the method itself).

    The parts do not depend on the weights: they are computed once in float64 and held in float32,
    so that a candidate is one pass over memory and solves no system.

    References:
        Cheng et al., Whoever started the interference should end it: guiding data-free model
        merging via task vectors, arXiv 2503.08099, equation of the loss of a linear layer. The
        authors descend it by Adam; this is where its gradient is zero, as in Wei et al., Unifying
        multimodal large language model capabilities and modalities via model merging, arXiv
        2505.19892. Departures: weights are ours; directions that hold rounding noise alone are
        left out; tensors that are no matrices are averaged.
    """
    return merging_parts("wudi", WEIGHT, _solved)


def _solved(matrices: list[np.ndarray]) -> list[np.ndarray]:
    norms = [np.linalg.norm(one) for one in matrices]
    units = [one / (norm or 1.0) for one, norm in zip(matrices, norms, strict=True)]
    _, values, right = svd(np.concatenate(units))  # of the root of the sum of all G
    inverse = right.T / np.square(values)
    return [
        (one @ (unit.T @ (unit @ inverse))) @ right
        for one, unit in zip(matrices, units, strict=True)
    ]
