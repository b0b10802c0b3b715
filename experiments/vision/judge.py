"""The items of a split, and the scores of language models behind the tower of the seer."""

import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models.decoder import modeling as decoder
from evojax_merge.models.decoder.cache import init_cache
from evojax_merge.models.llava import modeling as llava
from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.params.types import Array, Bool, Float, Int, Params, Tokens
from experiments.vision import checkpoint, tokenizer
from experiments.vision.batches import channels_first, with_picture
from experiments.vision.data import items
from experiments.vision.words import Language, Split


class Prompts(NamedTuple):
    """Prompts padded on the left, and the features of each one's picture."""

    tokens: Tokens
    start: Int[np.ndarray, " batch"]
    features: Float[Array, "batch slots hidden"]


class Judge:
    """The items of a split in a language, and the scores of language models on them."""

    def __init__(self, config: LlavaConfig, seer: Params, split: Split, language: Language = "ja"):
        self.config, self.words = config, tokenizer.build(pictures=True)
        self.items = list(items(split, language))
        texts = [with_picture(config.pictures, item.question) + "\n" for item in self.items]
        padded = self.words(texts, padding=True, return_tensors="np")
        shown = channels_first([item.picture for item in self.items])
        seen = jax.jit(functools.partial(llava.features, config))(seer, shown, checkpoint.pixels())
        start = (padded["attention_mask"] == 0).sum(1).astype(np.int32)
        self.prompts = Prompts(padded["input_ids"].astype(np.int32), start, seen)
        self.answer = jax.jit(functools.partial(answer, config))

    def answers(self, language_model: Params) -> list[str]:
        """Decode greedily."""
        found = []
        for row in np.asarray(self.answer(language_model, self.prompts)).tolist():
            end = row.index(self.words.eos_token_id) if self.words.eos_token_id in row else None
            found.append(self.words.decode(row[:end]))
        return found

    def score(self, language_model: Params) -> float:
        """Return how many answers of a hundred are right, to the letter."""
        return 100 * float(self._right(self.answers(language_model)).mean())

    def told(self, language_model: Params) -> str:
        """Return the score, that of each kind, and how many answers are in Japanese."""
        given = self.answers(language_model)
        right, kinds = self._right(given), np.array([item.kind for item in self.items])
        parts = [f"{kind} {100 * right[kinds == kind].mean():.0f}" for kind in dict.fromkeys(kinds)]
        japanese = [
            bool(re.search("[ぁ-ん]", text) and not re.search("[a-z]", text)) for text in given
        ]
        return (
            f"{100 * right.mean():5.1f}  {', '.join(parts)}; Japanese {100 * np.mean(japanese):.0f}"
        )

    def _right(self, given: list[str]) -> Bool[np.ndarray, " batch"]:
        return np.array([text == item.answer for text, item in zip(given, self.items, strict=True)])


def answer(config: LlavaConfig, params: Params, prompts: Prompts) -> Int[Array, "batch new"]:
    """Decode greedily with a cache, a few tokens and no end."""
    batch, length = prompts.tokens.shape
    run = functools.partial(decoder.forward, config.text, params)
    cache = init_cache(config.text, batch, length + checkpoint.LONGEST_ANSWER, jnp.float32)
    logits, cache = run(
        prompts.tokens,
        prompts.start,
        cache,
        features=prompts.features,
        image_token_id=config.pictures.token_id,
        last_only=True,
    )

    def step(carry: tuple[Array, Any], at: Array) -> tuple[tuple[Array, Any], Array]:
        token, cache = carry
        logits, cache = run(token[:, None], prompts.start, cache, at)
        return (logits[:, -1].argmax(-1), cache), token

    times = length + jnp.arange(checkpoint.LONGEST_ANSWER)
    return jax.lax.scan(step, (logits[:, -1].argmax(-1), cache), times)[1].T
