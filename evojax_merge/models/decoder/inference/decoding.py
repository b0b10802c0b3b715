"""What all ways to decode have in common: a candidate reads tokens, and an answer has an end."""

import dataclasses
import functools
from typing import NamedTuple

import jax.numpy as jnp

from evojax_merge.models.decoder.attention import Branches
from evojax_merge.models.decoder.cache import Caches
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.decoder.inference.pictures import Features, Pictures
from evojax_merge.models.decoder.inference.prefix import Primed, empty_cache, features_of
from evojax_merge.models.decoder.inference.repetition import seen_in
from evojax_merge.models.decoder.modeling import forward
from evojax_merge.params.types import Array, Bool, Float, Int, Tokens


class Prompts(NamedTuple):
    """Left-padded prompts.

    Attributes:
        tokens: What is left of them to read, after the prefix that a candidate has read.
        start: The first slot of each prompt that holds a token, with and without the prefix.
        whole: The prompts with the prefix. It is None where nobody looks back at them.
    """

    tokens: Tokens
    start: Int[Array, " rows"]
    whole: Tokens | None

    def of(self, rows: Int[Array, " some"]) -> "Prompts":
        """Return some of the prompts."""
        whole = None if self.whole is None else self.whole[rows]
        return Prompts(self.tokens[rows], self.start[rows], whole)


@dataclasses.dataclass(frozen=True)
class Decoding:
    """Decoding with one kind of decoder.

    Attributes:
        config: The configuration of all candidates.
        max_new_tokens: The number of tokens of the longest answer.
        eos_ids: The tokens that end an answer. The one met is kept in it.
        pad_id: The token that fills an answer after its end.
        repetition_penalty: What tokens seen before are penalised by (see `repetition`). With 1.0
            they are not.
        pictures: How the pictures of prompts are seen, or None for text alone.
    """

    config: DecoderConfig
    max_new_tokens: int
    eos_ids: tuple[int, ...]
    pad_id: int
    repetition_penalty: float = 1.0
    pictures: Pictures | None = None

    @property
    def looks_back(self) -> bool:
        """Whether the next token depends on which tokens were seen before."""
        return self.repetition_penalty != 1.0

    def seen_in(self, prompts: Prompts) -> Bool[Array, "rows vocab"] | None:
        """Tell which tokens stand in each prompt, or None where it does not matter."""
        if prompts.whole is None:
            return None
        return seen_in(prompts.whole, prompts.start, self.config.vocab_size)

    def ends(self, token: Int[Array, " *rows"]) -> Bool[Array, " *rows"]:
        """Tell whether an answer ends with this token."""
        return jnp.isin(token, jnp.asarray(self.eos_ids, jnp.int32))

    def read(
        self, model: Primed, prompts: Prompts, slots: int
    ) -> tuple[Float[Array, "rows vocab"], Caches]:
        """Return the logits of each answer's first token, and a cache that begins with prompts.

        Args:
            model: The candidate, with the pictures of these prompts before it.
            prompts: The prompts.
            slots: The number of slots of the cache.
        """
        empty = empty_cache(self.config, model.params, len(prompts.tokens), slots)
        features = features_of(model, self.pictures)
        logits, cache = self._run(model, prompts.tokens, prompts.start, empty, 0, features=features)
        return logits[:, -1], cache

    def go_on(
        self,
        model: Primed,
        tokens: Int[Array, "rows branches"],
        start: Int[Array, " rows"],
        cache: Caches,
        time: Int[Array, ""],
        branches: Branches | None = None,
    ) -> tuple[Float[Array, "rows branches vocab"], Caches]:
        """Return the logits after the tokens at ``time``, and the cache with these in it.

        Args:
            model: The candidate.
            tokens: The last token of each branch of each sequence.
            start: The time of the first token of each sequence.
            cache: The tokens before.
            time: The time of the last tokens.
            branches: Where the branches stand in the cache. With None each sequence has one.
        """
        return self._run(model, tokens, start, cache, time, branches=branches)

    def _run(
        self,
        model: Primed,
        tokens: Tokens,
        start: Int[Array, " rows"],
        cache: Caches,
        offset: Int[Array, ""] | int,
        features: Features | None = None,
        branches: Branches | None = None,
    ) -> tuple[Float[Array, "rows read vocab"], Caches]:
        run = functools.partial(
            forward,
            self.config,
            prefix=model.prefix,
            last_only=branches is None,
            kernels=True,
            features=features,
            image_token_id=None if self.pictures is None else self.pictures.token_id,
            branches=branches,
        )
        logits, filled = run(model.params, tokens, start, cache, offset)
        assert filled is not None
        return logits, filled
