"""The common beginning of a task's prompts, which each candidate reads only once.

As in Hydragen (Juravsky et al., 2024, arXiv 2402.05099), the products with the shared keys and
values become products of matrices, and no row keeps a copy of them.
"""

import functools
from typing import Any, NamedTuple

import jax

from evojax_merge.models.decoder.cache import Caches, init_cache
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.inference.lanes import Lanes
from evojax_merge.models.decoder.inference.pictures import Features, Pictures
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.models.decoder.params import is_unrolled
from evojax_merge.models.decoder.path import PATH
from evojax_merge.params.types import Array, Int, Params, Tokens


class Primed(NamedTuple):
    """A candidate, what it has read, and what it is to see.

    Attributes:
        params: The parameters of the decoder.
        prefix: The cache of the prefix that it has read, or None without a prefix.
        eyes: What it sees pictures with, or None (see `Pictures`).
        pictures: The fields of the pictures of its prompts, if they have any.
        shift: How much further the positions of their features are than their places, or None (see
            `Pictures`).
    """

    params: Params
    prefix: Any = None
    eyes: Any = None
    pictures: tuple[Any, ...] = ()
    shift: Any = None

    def before(self, rows: Int[Array, " some"]) -> "Primed":
        """Return the candidate with the pictures of some prompts before it."""
        pictures = tuple(field[rows] for field in self.pictures)
        shift = None if self.shift is None else self.shift[rows]
        return self._replace(pictures=pictures, shift=shift)


def empty_cache(config: DecoderConfig, params: Params, rows: int, slots: int) -> Caches:
    """Make an empty cache of as many hops and of the type that the parameters need."""
    hops = params[PATH].layer.shape[-1] if PATH in params else None
    dtype = params["embed_tokens"]["weight"].dtype
    return init_cache(config, rows, slots, dtype, hops, is_unrolled(params))


def candidates(
    params: Params,
    axes: Any,
    pictures: Pictures | None = None,
    fields: tuple[Any, ...] = (),
    eyes: Any = None,
) -> Lanes:
    """Make the lanes of candidates that have read nothing yet.

    Args:
        params: The parameters of the population.
        axes: The axis of the population in each leaf.
        pictures: How they see pictures, or None for text alone.
        fields: The fields of the pictures of all prompts.
        eyes: What the population sees them with.
    """
    own, shift = None if pictures is None else pictures.axes, None
    if pictures is not None and pictures.shifted:
        *seen, shift = fields
        fields = tuple(seen)
    return Lanes.make(
        Primed(params, None, eyes, fields, shift),
        Primed(axes, eyes=own, pictures=(None,) * len(fields)),
    )


def features_of(model: Primed, pictures: Pictures | None) -> Features | None:
    """Compute the features of the pictures before a candidate, or None for text alone."""
    return None if pictures is None else pictures.features_fn(model.eyes, *model.pictures)


def prime(
    config: DecoderConfig, lanes: Lanes, tokens: Tokens, start: Int[Array, " batch"], length: int
) -> tuple[Lanes, Int[Array, "batch left"]]:
    """Have the candidates read the prefix, and return them with what is left to read.

    Args:
        config: The configuration of the candidates.
        lanes: The candidates, each a `Primed`.
        tokens: Left-padded sequences.
        start: The first slot of each sequence that holds a token. It stays the first in what is
            left.
        length: How many tokens all sequences begin with. Each sequence has more.
    """
    if length == 0:
        return lanes, tokens
    prefix = jax.lax.dynamic_slice(tokens, (0, start[0]), (1, length))

    def read(model: Primed) -> Caches | None:
        cache = empty_cache(config, model.params, 1, length)
        run = functools.partial(forward, config, last_only=True, kernels=True)
        return run(model.params, prefix, start[:1] * 0, cache)[1]

    cache = lanes.each(read)
    # A row that begins at s has its prefix in the slots s to s + length: without the first columns,
    # what is left of the prefix stands before s, where padding does.
    of, axes = lanes.of._replace(prefix=cache), lanes.axes._replace(prefix=0)
    return Lanes(of, axes, lanes.lead), tokens[:, length:]
