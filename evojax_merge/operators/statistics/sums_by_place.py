"""Sums over a tensor's elements by the place that each is given: one compiled pass."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from evojax_merge.operators.statistics.numbers import Numbers, programs_here
from evojax_merge.operators.statistics.pieces import SMALL, of_two_lengths
from evojax_merge.params.types import Array


def sums_by_place(
    place: np.ndarray, places: int, tensors: tuple[Numbers, ...], power: int = 1
) -> np.ndarray:
    """The sums of powers at each place, float64 ``[tensors, places]``; powers are made in float32.

    Args:
        place: The place of each element, uint8 or uint16 ``[n]``, from 0 and below ``places``.
        places: How many places there are.
        tensors: Tensors of n elements each.
        power: The power, 1 or 2.
    """
    if len(place) < SMALL:
        powers = (numbers.made() ** power for numbers in tensors)
        return np.stack([np.bincount(place, own, places) for own in powers])
    with programs_here():
        sums = tuple(jnp.zeros(places, jnp.float64) for _ in tensors)
        for piece, new in of_two_lengths(len(place)):
            parts = tuple(numbers.part(piece) for numbers in tensors)
            sums = _add(sums, place[piece], parts, power, np.uint32(new))
        return np.stack([np.asarray(own) for own in sums])


@partial(jax.jit, donate_argnums=0, static_argnums=3)
def _add(
    sums: tuple[Array, ...], place: Array, tensors: tuple[Numbers, ...], power: int, new: Array
) -> tuple[Array, ...]:
    is_new = lax.iota(jnp.uint32, place.size) >= new
    place = place.astype(jnp.int32)

    def one(own: Array, numbers: Numbers) -> Array:
        terms = numbers.made()
        terms = jnp.where(is_new, terms * terms if power == 2 else terms, 0.0)
        return own.at[place].add(terms.astype(jnp.float64), mode="promise_in_bounds")

    return tuple(one(own, numbers) for own, numbers in zip(sums, tensors, strict=True))
