"""Greedy decoding with one candidate: it reads prompts and takes steps."""

from typing import NamedTuple

import jax.numpy as jnp

from evojax_merge.models.decoder.cache import Caches
from evojax_merge.models.decoder.inference.decoding import Decoding, Prompts
from evojax_merge.models.decoder.inference.prefix import Primed
from evojax_merge.models.decoder.inference.repetition import penalised, with_token
from evojax_merge.params.types import Array, Bool, Float, Int


class Last(NamedTuple):
    """The last token of some answers, and what was seen up to it.

    Attributes:
        token: The token, not yet in the cache.
        seen: Which tokens of the vocabulary stand in each prompt and answer, or None without a
            penalty on them.
    """

    token: Int[Array, " *rows"]
    seen: Bool[Array, "*rows vocab"] | None


class Greedy(Decoding):
    """Greedy decoding with one kind of decoder: the next token is the one of the highest score."""

    def prefill(self, model: Primed, prompts: Prompts, slots: int) -> tuple[Last, Caches]:
        """Return each answer's first token, and a cache of as many slots that begins with prompts.

        The pictures of these prompts are those before the candidate.
        """
        logits, cache = self.read(model, prompts, slots)
        return self._choose(logits, self.seen_in(prompts)), cache

    def decode(
        self,
        model: Primed,
        last: Last,
        start: Int[Array, " rows"],
        cache: Caches,
        time: Int[Array, ""],
    ) -> tuple[Last, Caches]:
        """Return the token after the one at ``time``, and the cache with that one in it."""
        logits, cache = self.go_on(model, last.token[:, None], start, cache, time)
        return self._choose(logits[:, -1], last.seen), cache

    def _choose(
        self, logits: Float[Array, "rows vocab"], seen: Bool[Array, "rows vocab"] | None
    ) -> Last:
        scores = logits if seen is None else penalised(logits, seen, self.repetition_penalty)
        token = jnp.argmax(scores, axis=-1).astype(jnp.int32)
        return Last(token, None if seen is None else with_token(seen, token))
