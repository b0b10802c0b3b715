import functools

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from evosax.algorithms import DifferentialEvolution, Open_ES

from evojax_merge.strategies import CMAES, EvosaxStrategy, Setting, default_population_size
from tests.strategies.making import make

BOX = {"lower": np.zeros(7), "upper": np.ones(7)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": "cma_e"}, r"unknown evosax algorithm 'cma_e' \(did you mean CMA_ES"),
        ({"algorithm": optax.adam}, "not an evosax algorithm"),
        ({"algorithm": functools.partial(Open_ES, optimiser=None)}, "did you mean optimizer"),
        ({"algorithm": functools.partial(CMAES, params_path="x.pkl")}, "unknown option of CMAES"),
        (
            {"strategy_params": {"c_mena": 1.0}},
            r"^unknown parameter of CMAES 'c_mena' \(did you mean c_mean",
        ),
        ({"strategy_params": {"c_mean": "fast"}}, "^CMAES.c_mean must be a number"),
        ({"strategy_params": {"c_mean": [1.0, 2.0]}}, r"must have shape \(\)"),
        ({"strategy_params": {"c_mean": float("nan")}}, "not a number"),
        ({"population_size": 0}, "at least 1, not 0"),
        ({"population_size": -3}, "at least 1, not -3"),
        ({"population_size": 8.5}, "whole number"),
        ({"population_size": 1}, "so small a population"),
        ({"algorithm": Open_ES, "population_size": 9}, "population of 9: .*must be even"),
        ({"algorithm": DifferentialEvolution, "population_size": 3}, "population_size >= 4"),
        ({"lower": np.ones(7), "upper": np.zeros(7)}, "gene 0 has lower 1 and upper 0"),
        ({"lower": np.r_[np.zeros(6), 1.0]}, r"gene 6 has lower 1 and upper 1 \(1 such"),
        ({"start": np.r_[np.zeros(6), 1.5]}, r"gene 6 starts at 1.5 outside \[0, 1\]"),
        ({"start": np.zeros(6)}, r"shapes are \(7,\), \(7,\) and \(6,\)"),
        ({"lower": np.zeros(3)}, "one length"),
        ({"lower": np.zeros(0), "upper": np.zeros(0)}, "at least 1"),
        ({"upper": np.full(7, np.inf)}, "finite"),
        ({"sigma": 0.0}, "sigma"),
        ({"initial_population": "gaussian"}, "normal, uniform, experts"),
    ],
)
def test_refuses(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(EvosaxStrategy, **({"algorithm": "CMA_ES"} | BOX | changes))


def test_default_population_is_the_papers_or_the_next_that_fits() -> None:
    assert [default_population_size(n) for n in (1, 6, 12, 4288)] == [4, 9, 11, 29]
    assert EvosaxStrategy(Setting(**BOX), "CMA_ES").population_size == 9
    assert EvosaxStrategy(Setting(**BOX), "Open_ES").population_size == 10


def test_parameters_replace_the_defaults_in_their_dtype() -> None:
    strategy = EvosaxStrategy(
        Setting(**BOX), "CMA_ES", strategy_params={"c_mean": 1, "std_init": 0.5}
    )
    assert strategy._params.std_init == 0.5
    assert strategy._params.c_mean.dtype == jnp.float32


def test_a_name_selects_the_corrected_class() -> None:
    assert isinstance(EvosaxStrategy(Setting(**BOX), "CMA_ES").algorithm, CMAES)
