"""The search box and the change of coordinates between it and an unbounded algorithm.

An algorithm searches all of R^dims and is written for a start near 0 with unit deviation. Its
sample z stands for the genotype

    x = clip(u, lower, upper),   u = start + sigma · span · z

where the span of a gene is upper − lower, or whatever else its space says. A sample outside the box
is scored at the nearest point of the box, so that an optimum on a wall (a density of 1, a weight of
0) is reached exactly. Clipping alone would leave a plateau beyond the walls, on which a mean may
drift away. A distribution-based algorithm is therefore told its own sample, undistorted, at the
cost plus a penalty v · (spread of the generation's costs),

    v = 0.1 · mean over genes of ((u − x) / s)²,   s the generation's deviation of u.

The spread makes the penalty independent of the scale of the fitness, and s makes it independent of
how far the search has narrowed. A penalty in absolute distance fades with the deviation, and with
it 40 % of the searches of a 10-gene ellipsoid that met a wall stayed on it. The members of a
population-based algorithm are themselves moved to the wall.

The table gives the median evaluations (31 seeds; 15 for cmaes) that CMA-ES took to come within 0.01
of the optimum of a 12-gene sphere (population 11, start mid-range, sigma 1/6), and within 1e-3 of
that of a 10-gene ellipsoid between walls:

    optimum                  this   reflecting at the walls   cmaes (resampling)
    in a corner               143                       451                  528
    half its genes on walls   286                       396                  429
    outside the box           154                       902                 1320
    inside                    264                       242                  242
    ellipsoid                3430                                           3300
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from evojax_merge.documents.arguments import LARGEST, within
from evojax_merge.params.types import Genotype

PENALTY = 0.1
"""Among 1, 0.3, 0.2, 0.1 and 0.03 this one was never much slower than the best of them."""


class Box(NamedTuple):
    """The bounds of a search, where it starts, and its initial deviation as a share of the span."""

    lower: Genotype
    upper: Genotype
    start: Genotype
    span: Genotype
    sigma: float

    def genotype(self, z: Float[Array, "*pop dims"]) -> Float[Array, "*pop dims"]:
        """The genotype, inside the bounds, that a sample of the algorithm stands for."""
        x = self.start + self.span * self.sigma * z
        return jnp.clip(x, self.lower, self.upper)

    def sample(self, genotype: Float[Array, "*pop dims"]) -> Float[Array, "*pop dims"]:
        """The sample that stands for a genotype: the inverse of `genotype` inside the box."""
        return (genotype - self.start) / (self.span * self.sigma)

    def violation(self, z: Float[Array, "pop dims"]) -> Float[Array, " pop"]:
        """How far each sample of a generation is from the box: v in the module's text."""
        beyond = z - self.sample(self.genotype(z))
        deviation = jnp.std(z, axis=0)
        # One sample, or equal ones: nothing to compare with, nothing to choose between.
        scaled = beyond / jnp.where(deviation > 0, deviation, 1.0)
        return PENALTY * jnp.mean(jnp.square(scaled), axis=-1)


def make_box(
    lower: object, upper: object, start: object | None, sigma: float, span: object | None = None
) -> Box:
    """Check and gather bounds, start (the middle when None), span (the range) and deviation.

    Raises:
        ValueError: The bounds are empty, of different lengths, not finite, reversed or equal, the
            start is outside them, or a span or the sigma is not positive.
    """
    low, high = (np.atleast_1d(np.asarray(bound, np.float32)) for bound in (lower, upper))
    middle = (low + high) / 2 if low.shape == high.shape else low
    begin = middle if start is None else np.atleast_1d(np.asarray(start, np.float32))
    if low.ndim != 1 or low.size == 0 or not low.shape == high.shape == begin.shape:
        raise ValueError(
            "lower, upper and start must be vectors of one length, at least 1: "
            f"their shapes are {low.shape}, {high.shape} and {begin.shape}"
        )
    if not all(np.isfinite(bound).all() for bound in (low, high, begin)):
        raise ValueError("lower, upper and start must be finite")
    if (wrong := np.flatnonzero(low >= high)).size:
        i = int(wrong[0])
        raise ValueError(
            f"lower must be below upper, but gene {i} has lower {low[i]:g} and upper {high[i]:g} "
            f"({wrong.size} such genes); a gene that cannot vary belongs outside the search"
        )
    if (wrong := np.flatnonzero((begin < low) | (begin > high))).size:
        i = int(wrong[0])
        raise ValueError(
            f"start must lie within the bounds, but gene {i} starts at {begin[i]:g} "
            f"outside [{low[i]:g}, {high[i]:g}] ({wrong.size} such genes)"
        )
    if isinstance(sigma, bool) or not isinstance(sigma, int | float | np.floating):
        raise ValueError(f"sigma is a share of the range, a number, not {sigma!r}")
    if not (within(sigma, 0, LARGEST) and np.float32(sigma) > 0):
        raise ValueError(f"sigma is a share of the range and must be positive, not {sigma}")
    wide = high - low if span is None else np.atleast_1d(np.asarray(span, np.float32))
    if wide.shape != low.shape or not (np.isfinite(wide).all() and (wide > 0).all()):
        raise ValueError("span must have a positive, finite number for each gene")
    return Box(
        jax.device_put(low),
        jax.device_put(high),
        jax.device_put(begin),
        jax.device_put(wide),
        float(sigma),
    )
