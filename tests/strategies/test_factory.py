"""A strategy of one's own takes three methods, and is refused in words where it does not fit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evojax_merge.measuring.evaluation import Evaluation
from evojax_merge.search.loop import search
from evojax_merge.strategies import M2N2, EvosaxStrategy, Setting, Strategy, make_strategy

SETTING = Setting(np.zeros(2), np.ones(2))
WIDE = Setting(np.zeros(2), np.ones(2), span=np.full(2, 0.1))


class Uniform(Strategy):
    """Draws uniformly and learns nothing."""

    def __init__(self, setting, population_size=3):
        self.box = setting.box(sigma=1.0)
        self.dims, self.population_size = self.box.start.size, population_size

    def init(self, key):
        return ()

    def ask(self, key, state):
        shape = (self.population_size, self.dims)
        return jax.random.uniform(key, shape) * self.box.span + self.box.lower, state

    def tell(self, key, population, told, state):
        return state


class Weighing(Uniform):
    hears = "objectives"


def test_three_methods_are_enough_for_a_search() -> None:
    def evaluate(population: jax.Array) -> Evaluation:
        items = np.asarray(population, np.float32)
        return Evaluation(items, np.zeros(len(items), np.float32))

    strategy = make_strategy(functools.partial(Uniform, population_size=4), SETTING)
    state = search("own", strategy, evaluate, key=jax.random.key(0), generations=5, archive_size=20)
    assert len(np.unique(np.asarray(state.archive.fitness))) == 20
    assert not any((strategy.averages, strategy.scores_itself, strategy.spent(state.strategy)))
    assert strategy.seed(np.zeros((1, 2))) is strategy
    assert strategy.recommend(state.strategy) is strategy.front(state.strategy) is None


def test_what_one_strategy_cannot_do_is_said() -> None:
    strategy = Uniform(SETTING)
    for call in (
        lambda: strategy.score(jnp.zeros((1, 2))),
        lambda: strategy.inject(jnp.zeros(2), jnp.zeros((1, 2)), ()),
    ):
        with pytest.raises(NotImplementedError, match="Uniform"):
            call()


@pytest.mark.parametrize(
    ("factory", "setting", "message"),
    [
        (Uniform, WIDE, "Uniform takes no span"),
        (Weighing, SETTING, "Weighing weighs several objectives"),
        (lambda setting: object(), SETTING, "<lambda> makes a object, which is no strategy"),
        (functools.partial(Uniform, size=3), SETTING, "Uniform cannot be made: .*'size'"),
        (M2N2, SETTING, "the number of items must be a whole number"),
    ],
)
def test_a_strategy_that_does_not_fit_is_refused(factory, setting, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_strategy(factory, setting)
    assert make_strategy(EvosaxStrategy, WIDE, algorithm="SNES").box.span[0] == np.float32(0.1)
