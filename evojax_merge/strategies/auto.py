"""The strategy that was measured best for the number of genes (experiments/search/README.md)."""

import functools
from typing import Any

import optax
from evosax.algorithms import CR_FM_NES, SNES

from evojax_merge.strategies.adapter import EvosaxStrategy
from evojax_merge.strategies.box import make_box

MANY = 1000
"""Genes from which on SNES is used; measured were 512 and 4,288."""


class Auto(EvosaxStrategy):
    """CR-FM-NES for up to a thousand genes, SNES beyond: both linear in the number of genes.

    With noise on the fitness CR-FM-NES takes fewer evaluations than CMA-ES. Of a data-flow
    genotype's thousands, SNES gains more from the same evaluations.

    Args:
        lower, upper, start, span, population_size, sigma: see `EvosaxStrategy`.
    """

    def __init__(
        self,
        *,
        lower: Any,
        upper: Any,
        start: Any = None,
        span: Any = None,
        population_size: int | None = None,
        sigma: float = 1 / 6,
    ) -> None:
        dims = make_box(lower, upper, start, sigma, span).start.size
        many = functools.partial(SNES, optimizer=optax.sgd(1.0))
        super().__init__(
            CR_FM_NES if dims <= MANY else many,
            lower=lower,
            upper=upper,
            start=start,
            span=span,
            population_size=population_size,
            sigma=sigma,
        )
