"""What keeps one tensor of a plan from being merged."""

from collections.abc import Iterator, Sequence

import numpy as np

from evojax_merge.checkpoints import Checkpoint
from evojax_merge.exchange.plan import Job, Origin
from evojax_merge.exchange.vocabulary import Tokens
from evojax_merge.operators.base import TINY

_NORMALISED_BY = {"linear": "normalize", "multislerp": "normalize_weights"}
"""The arguments of operators that divide by the sum of the weights."""


def job_problems(
    job: Job,
    method: str,
    names: Sequence[str],
    checkpoints: Sequence[Checkpoint],
    tokens: Tokens | None,
) -> Iterator[str]:
    """Tell everything that does not fit, in words.

    Args:
        job: The merge of the tensor.
        method: The name of the merge method.
        names: What the file calls the models.
        checkpoints: The checkpoints of the models, in the same order.
        tokens: How tables of tokens are brought to one vocabulary, if they are.
    """
    if _divides_by_nothing(job, method):
        yield f"{job.name}: the weights add up to 0, and are to be normalised"
    shapes: dict[tuple[int, ...], tuple[Origin, tuple[int, ...]]] = {}
    for origin in job.origins:
        shape = checkpoints[origin.model].tensors[origin.tensor].shape
        aligned = job.in_vocabulary and tokens is not None
        shapes.setdefault(shape[1:] if aligned else shape, (origin, shape))
    if len(shapes) > 1:
        listed = ", ".join(
            f"{list(shape)} in {names[origin.model]}" for origin, shape in shapes.values()
        )
        hint = "; give a tokenizer_source, e.g. base" if job.in_vocabulary else ""
        yield f"{job.name}: {listed}{hint}"
    if tokens is not None and job.in_vocabulary:
        models = {origin.model for origin in job.origins}
        for one in tokens.chosen:
            if one.model is not None and one.model not in models:
                yield f"{job.name}: {one.where} names {names[one.model]}, which is not merged there"


def _divides_by_nothing(job: Job, method: str) -> bool:
    switch = _NORMALISED_BY.get(method)
    if switch is None or not dict(job.static)[switch]:
        return False
    return abs(float(np.sum(job.coefficients["weight"]))) < TINY
