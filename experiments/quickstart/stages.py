"""What each checkpoint reads: the mixtures of documents and how long they are trained on."""

from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.quickstart import data
from experiments.quickstart.data import Document, Mixture
from experiments.quickstart.train import Stage
from experiments.quickstart.words import LANGUAGES, Language


def in_both(
    weight: float, generator: Callable[[np.random.Generator, Language], Document]
) -> Mixture:
    """A generator in either language, with this weight each."""
    return [(weight, partial(generator, language=language)) for language in LANGUAGES]


def solved_problem(rng: np.random.Generator, language: Language, largest: int) -> Document:
    """A word problem of the training split, with its solution."""
    return data.solved(data.word_problem(rng, "train", language, largest))


BASE = Stage(
    mixture=[
        *in_both(0.02, data.story),
        *in_both(0.10, data.translation),
        *in_both(0.08, data.reading),
        *in_both(0.05, data.more_or_fewer),
        *in_both(0.03, data.counting),
        (0.22, data.bare_sum),
        (0.03, partial(data.bare_sum, largest=data.SMALL)),
        (0.08, partial(solved_problem, language="en", largest=data.SMALL)),
        (0.06, partial(solved_problem, language="ja", largest=data.SMALL)),
    ],
    steps=1500,
    learning_rate=2e-3,
    seed=1,
    warmup=50,
)
"""General text in both languages, sums in figures, and word problems with small numbers only."""

MATH = Stage(
    mixture=[
        (0.8, partial(solved_problem, language="en", largest=data.LARGEST)),
        (0.2, data.bare_sum),
    ],
    steps=300,
    learning_rate=1e-3,
    seed=2,
    prompt_weight=0.0,
    warmup=20,
)
"""English word problems and sums; not one word of Japanese."""

JAPANESE = Stage(
    mixture=[
        (0.20, partial(data.story, language="ja")),
        (0.20, partial(data.translation, language="ja")),
        (0.35, partial(data.reading, language="ja")),
        (0.15, partial(data.more_or_fewer, language="ja")),
        (0.10, partial(data.counting, language="ja")),
    ],
    steps=200,
    learning_rate=1e-3,
    seed=3,
    warmup=20,
)
"""Japanese text and questions about it; not one sum."""
