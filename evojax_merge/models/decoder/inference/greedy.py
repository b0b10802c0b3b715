"""Greedy decoding with one candidate: it reads prompts, takes steps and knows the end."""

import dataclasses
import functools

import jax.numpy as jnp

from evojax_merge.models.decoder.cache import Caches
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.inference.pictures import Features, Pictures
from evojax_merge.models.decoder.inference.prefix import Primed, empty_cache, features_of
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.params.types import Array, Bool, Int, Tokens


@dataclasses.dataclass(frozen=True)
class Greedy:
    """Greedy decoding with one kind of decoder.

    Attributes:
        config: The configuration of all candidates.
        max_new_tokens: The number of tokens of the longest answer.
        eos_ids: The tokens that end an answer. The one met is kept in it.
        pad_id: The token that fills an answer after its end.
        pictures: How the pictures of prompts are seen, or None for text alone.
    """

    config: DecoderConfig
    max_new_tokens: int
    eos_ids: tuple[int, ...]
    pad_id: int
    pictures: Pictures | None = None

    def prefill(
        self, model: Primed, tokens: Tokens, start: Int[Array, " rows"], slots: int
    ) -> tuple[Int[Array, " rows"], Caches]:
        """Return each answer's first token, and a cache that begins with the prompts.

        Args:
            model: The candidate, with the pictures of these prompts before it.
            tokens: Left-padded prompts.
            start: The first slot of each prompt that holds a token.
            slots: The number of slots of the cache.
        """
        empty = empty_cache(self.config, model.params, len(tokens), slots)
        features = features_of(model, self.pictures)
        return self._next(model, tokens, start, empty, 0, features)

    def decode(
        self,
        model: Primed,
        token: Int[Array, " rows"],
        start: Int[Array, " rows"],
        cache: Caches,
        time: Int[Array, ""],
    ) -> tuple[Int[Array, " rows"], Caches]:
        """Return the token after the one at ``time``, and the cache with that one in it."""
        return self._next(model, token[:, None], start, cache, time)

    def ends(self, token: Int[Array, " *rows"]) -> Bool[Array, " *rows"]:
        """Tell whether an answer ends with this token."""
        return jnp.isin(token, jnp.asarray(self.eos_ids, jnp.int32))

    def _next(
        self,
        model: Primed,
        tokens: Tokens,
        start: Int[Array, " rows"],
        cache: Caches,
        offset: Int[Array, ""] | int,
        features: Features | None = None,
    ) -> tuple[Int[Array, " rows"], Caches]:
        run = functools.partial(
            forward,
            self.config,
            prefix=model.prefix,
            last_only=True,
            kernels=True,
            features=features,
            image_token_id=None if self.pictures is None else self.pictures.token_id,
            shift=model.shift,
        )
        logits, filled = run(model.params, tokens, start, cache, offset)
        assert filled is not None
        return jnp.argmax(logits[:, -1], axis=-1).astype(jnp.int32), filled
