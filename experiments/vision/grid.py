"""Score the sources, published merges and a grid of weights for the whole language model.

python -m experiments.vision.grid [--sources DIR] [--split search] [--draws 60]

This is the loop in which the sources were chosen. It needs nothing of the search.
"""

import argparse
import functools
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models import family_of
from evojax_merge.models.decoder import modeling as decoder
from evojax_merge.models.decoder.cache import init_cache
from evojax_merge.models.llava import modeling as llava
from evojax_merge.models.llava.config import LANGUAGE, LlavaConfig
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Float, Int, Params, Tokens
from experiments.vision import checkpoint, tokenizer
from experiments.vision.batches import channels_first, with_picture
from experiments.vision.data import items
from experiments.vision.make_sources import SOURCES
from experiments.vision.words import Language, Split

WEIGHTS = (0.0, 0.3, 0.6, 0.9, 1.2, 1.5)
GROUPS = {"attention": "attention", "mlp": "mlp", "norm": "norm"}
"""Groups of the layout, as the space of the experiment has them; all others are ``vocabulary``."""


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
        rows = np.asarray(self.answer(language_model, self.prompts))
        ends = [np.argmax(row == self.words.eos_token_id) if self.words.eos_token_id in row else None for row in rows]
        return [self.words.decode(row[:end]) for row, end in zip(rows, ends, strict=True)]

    def right(self, language_model: Params) -> np.ndarray:
        """Tell which answers are right to the letter."""
        given = self.answers(language_model)
        return np.array([text == item.answer for text, item in zip(given, self.items, strict=True)])

    def score(self, language_model: Params) -> float:
        """Return how many answers of a hundred are right."""
        return 100 * float(self.right(language_model).mean())

    def told(self, language_model: Params) -> str:
        """Return the score, that of each kind, and how many answers are in Japanese."""
        right, given = self.right(language_model), self.answers(language_model)
        kinds = np.array([item.kind for item in self.items])
        parts = [f"{kind} {100 * right[kinds == kind].mean():.0f}" for kind in dict.fromkeys(kinds)]
        japanese = np.mean([bool(re.search("[ぁ-ん]", text)) and not re.search("[a-z]", text) for text in given])
        return f"{100 * right.mean():5.1f}  {', '.join(parts)}; Japanese {100 * japanese:.0f}"


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


class Sources(NamedTuple):
    """The language models of base, seer and japanese, the whole seer, and the group of each leaf."""

    base: Mapping[str, Array]
    seer: Mapping[str, Array]
    japanese: Mapping[str, Array]
    config: LlavaConfig
    whole: Params
    groups: Mapping[str, str]

    @classmethod
    def read(cls, directory: Path) -> "Sources":
        """Read them, with the base's row for the token that the Japanese model lacks."""
        found = {}
        for name in ("base", "seer", "japanese"):
            written = json.loads((directory / name / "config.json").read_text())
            family = family_of(written)
            config = family.config_from_hf(written)
            params = checkpoint.load(directory / name, family, config)
            if name == "seer":
                whole, llava_config, params = params, config, params[LANGUAGE]
            if name == "base":
                groups = {p: GROUPS.get(l.group, "vocabulary") for p, l in family.layout(config).leaves.items()}
            found[name] = flatten(params)
        for path, leaf in found["japanese"].items():
            if (rows := leaf.shape[0]) < found["base"][path].shape[0]:
                found["japanese"][path] = jnp.concatenate([leaf, found["base"][path][rows:]])
        return cls(**found, config=llava_config, whole=whole, groups=groups)

    def merged(self, seer: Mapping[str, float], japanese: Mapping[str, float]) -> Params:
        """Return base + Σ weight of the leaf's group · task vector."""
        return unflatten(
            {
                path: leaf
                + seer[self.groups[path]] * (self.seer[path] - leaf)
                + japanese[self.groups[path]] * (self.japanese[path] - leaf)
                for path, leaf in self.base.items()
            }
        )

    def uniform(self, seer: float, japanese: float) -> Params:
        """Return the merge with a weight for each whole task vector."""
        names = set(self.groups.values())
        return self.merged(dict.fromkeys(names, seer), dict.fromkeys(names, japanese))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, default=SOURCES)
    parser.add_argument("--split", default="search")
    parser.add_argument("--draws", type=int, default=0)
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    given = parser.parse_args()
    sources = Sources.read(given.sources)
    for path in ("layers.self_attn.q_proj.weight", "layers.mlp.down_proj.weight"):
        a, b = (np.ravel(one[path] - sources.base[path]) for one in (sources.seer, sources.japanese))
        print(path, np.linalg.norm(sources.base[path]), np.linalg.norm(a), np.linalg.norm(b), a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    english = Judge(sources.config, sources.whole, given.split, "en")
    judge = Judge(sources.config, sources.whole, given.split)
    print("seer, English  ", english.told(sources.uniform(1, 0)))
    named = {"base": (0, 0), "seer": (1, 0), "japanese": (0, 1), "average": (0.5, 0.5), "sum": (1, 1)}
    for name, weights in named.items():
        print(f"{name:15}", judge.told(sources.uniform(*weights)), flush=True)
    grid = {}
    print("seer down, japanese across", *given.weights)
    for a in given.weights:
        for b in given.weights:
            grid[a, b] = judge.score(sources.uniform(a, b))
        print(f"{a:4}", *(f"{grid[a, b]:5.1f}" for b in given.weights), flush=True)
    best = max(grid, key=grid.get)
    print("best", best, judge.told(sources.uniform(*best)), flush=True)
    rng, found = np.random.default_rng(0), []
    names = sorted(set(sources.groups.values()))
    for _ in range(given.draws):
        weights = [dict(zip(names, rng.uniform(0, 1.5, len(names)), strict=True)) for _ in (0, 1)]
        found.append((judge.score(sources.merged(*weights)), weights))
    if found:
        _, weights = max(found, key=lambda pair: pair[0])
        print("best of random", weights, judge.told(sources.merged(*weights)))


if __name__ == "__main__":
    main()
