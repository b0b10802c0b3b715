"""The common beginning of a task's prompts, which each candidate reads only once.

As in Hydragen (Juravsky et al., 2024, arXiv 2402.05099), the products with the shared keys and
values become products of matrices, and no row keeps a copy of them.
"""

from typing import Any, NamedTuple

import jax

from evojax_merge.models.decoder.cache import Caches, init_cache
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.inference.lanes import Lanes
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.models.decoder.path import PATH
from evojax_merge.params.types import Array, Int, Params, Tokens


class Primed(NamedTuple):
    """A candidate, and the cache of the prefix that it has read, or None without a prefix."""

    params: Params
    prefix: Any


def empty_cache(config: DecoderConfig, params: Params, rows: int, slots: int) -> Caches:
    """Make an empty cache of as many hops and of the type that the parameters need."""
    hops = params[PATH].layer.shape[-1] if PATH in params else None
    return init_cache(config, rows, slots, params["embed_tokens"]["weight"].dtype, hops)


def prime(
    config: DecoderConfig, lanes: Lanes, tokens: Tokens, start: Int[Array, " batch"], length: int
) -> tuple[Lanes, Tokens]:
    """Have the candidates read the prefix, and return them with what is left to read.

    Args:
        config: The configuration of the candidates.
        lanes: The candidates.
        tokens: Left-padded sequences.
        start: The first slot of each sequence that holds a token. It stays the first in what is
            left.
        length: How many tokens all sequences begin with. Each sequence has more.
    """
    if length == 0:
        return lanes._replace(of=Primed(lanes.of, None), axes=Primed(lanes.axes, None)), tokens
    prefix = jax.lax.dynamic_slice(tokens, (0, start[0]), (1, length))

    def read(params: Params) -> Caches | None:
        cache = empty_cache(config, params, 1, length)
        return forward(config, params, prefix, start[:1] * 0, cache, last_only=True, kernels=True)[
            1
        ]

    cache = lanes.each(read)
    # A row that begins at s has its prefix in the slots s to s + length: without the first columns,
    # what is left of the prefix stands before s, where padding does.
    return Lanes(Primed(lanes.of, cache), Primed(lanes.axes, 0), lanes.lead), tokens[:, length:]
