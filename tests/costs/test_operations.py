"""Operations are counted as a program does them, loops as often as they turn."""

import jax
import jax.numpy as jnp
import pytest

from evojax_merge.costs.operations import operations
from evojax_merge.costs.turns import Turns
from evojax_merge.params.loops import STEPS, while_loop

SQUARE = jax.ShapeDtypeStruct((8, 8), jnp.float32)
PRODUCT = 2 * 8**3


def count(function, *shapes, **turns):
    return operations(jax.jit(function).trace(*shapes).jaxpr, Turns(turns))


def test_a_product_counts_twice_for_each_number_that_it_multiplies():
    wide = jax.ShapeDtypeStruct((8, 5), jnp.float32)
    assert count(jnp.matmul, SQUARE, wide) == 2 * 8 * 8 * 5


def test_what_only_moves_numbers_does_not_count():
    assert count(lambda x: x.T.reshape(-1)[:3], SQUARE) == 0


def test_a_scan_counts_as_often_as_it_turns():
    def chain(x):
        return jax.lax.scan(lambda y, _: (y @ x, None), x, length=6)[0]

    assert count(chain, SQUARE) == 6 * PRODUCT


@pytest.mark.parametrize("mapped", [False, True])
def test_a_loop_that_data_end_counts_by_its_name(mapped):
    def steps(x):
        return while_loop(STEPS, lambda y: jnp.all(y < 9), lambda y: y @ x, x)

    function, shape = (jax.vmap(steps), (3, 8, 8)) if mapped else (steps, (8, 8))
    found = count(function, jax.ShapeDtypeStruct(shape, jnp.float32), **{STEPS: 11})
    assert found >= 11 * PRODUCT * (3 if mapped else 1)
    assert count(function, jax.ShapeDtypeStruct(shape, jnp.float32)) < found  # once


def test_of_branches_the_larger_counts():
    def either(x):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ x, lambda: x)

    assert PRODUCT <= count(either, SQUARE) <= PRODUCT + 4


def test_a_convolution_counts_each_product():
    picture, kernel = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, 4, 9, 9), (6, 4, 3, 3)))

    def convolved(x, k):
        return jax.lax.conv_general_dilated(x, k, (1, 1), "VALID")

    assert count(convolved, picture, kernel) == 2 * (6 * 7 * 7) * (4 * 3 * 3)
