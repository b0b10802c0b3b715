"""The strategy for the number of genes that was the best on noisy functions.

experiments/search/README.md has the functions. docs/choosing-a-strategy.md has the experiments on
which others are better or worse.
"""

import functools
from typing import Any

import optax
from evosax.algorithms import CR_FM_NES, SNES, Open_ES

from evojax_merge.strategies.adapter import EvosaxStrategy
from evojax_merge.strategies.setting import Setting

SOME, MANY = 180, 1500
"""The numbers of genes at which the choice changes. They are halfway, as ratios, between those that
were measured: 64, 512 and 4,288."""


class Auto(EvosaxStrategy):
    """CR-FM-NES for up to dozens of genes, OpenAI-ES for hundreds, SNES for thousands.

    Their settings are those of ``strategy=cr_fm_nes``, ``open_es`` and ``snes``.

    Args:
        setting, population_size, sigma: The arguments that `EvosaxStrategy` has.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        population_size: int | None = None,
        sigma: float = 1 / 6,
    ) -> None:
        algorithm = _choose(setting.box(sigma).start.size)
        super().__init__(setting, algorithm, population_size=population_size, sigma=sigma)


def _choose(dims: int) -> Any:
    if dims <= SOME:
        return CR_FM_NES
    if dims <= MANY:
        narrowing = optax.exponential_decay(1.0, transition_steps=10, decay_rate=0.8, end_value=0.2)
        return functools.partial(Open_ES, optimizer=optax.adam(0.1), std_schedule=narrowing)
    return functools.partial(SNES, optimizer=optax.sgd(1.0))
