import jax
import numpy as np
import pytest
from hydra.utils import instantiate

from evojax_merge.config import compose
from evojax_merge.strategies import Auto, Setting


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("dims", "name"),
    [
        pytest.param(8, "cr_fm_nes", marks=pytest.mark.slow),
        (64, "cr_fm_nes"),
        (512, "open_es"),
        (4288, "snes"),
    ],
)
def test_is_the_strategy_of_that_name_for_the_number_of_genes(dims: int, name: str) -> None:
    setting = Setting(np.zeros(dims), np.ones(dims))
    named = instantiate(compose([f"strategy={name}", "model.sources=[x]"]).strategy)(setting)
    chosen = Auto(setting)
    assert chosen.population_size == named.population_size
    key = jax.random.key(0)
    populations = []
    for strategy in (chosen, named):
        population, state = strategy.ask(key, strategy.init(key))
        state = strategy.tell(key, population, -(population**2).sum(axis=1), state)
        populations.append(np.asarray(strategy.ask(key, state)[0]))
    np.testing.assert_array_equal(*populations)


def test_refuses_an_impossible_box() -> None:
    with pytest.raises(ValueError, match="lower must be below upper"):
        Auto(Setting(np.ones(3), np.zeros(3)))
