"""What each checkpoint reads: the mixtures of documents and how long they are trained on."""

from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.quickstart import data
from experiments.quickstart.data import Document, Kind, Mixture
from experiments.quickstart.train import Stage
from experiments.quickstart.words import LANGUAGES, Language


def in_both(
    weight: float, generator: Callable[[np.random.Generator, Language], Document]
) -> Mixture:
    """A generator in either language, with this weight each."""
    return [(weight, partial(generator, language=language)) for language in LANGUAGES]


def solved_problem(
    rng: np.random.Generator,
    language: Language,
    largest: int = data.LARGEST,
    kind: Kind | None = None,
) -> Document:
    """A word problem of the training split, with its solution."""
    return data.solved(data.word_problem(rng, "train", language, largest, kind))


def unworded_problem(
    rng: np.random.Generator,
    language: Language,
    largest: int = data.LARGEST,
    kind: Kind | None = None,
) -> Document:
    """A word problem of the training split, with its bare equation."""
    return data.equation_only(data.word_problem(rng, "train", language, largest, kind))


def general(kind: Kind | None) -> Mixture:
    """Both languages, translation between them, sums in figures, small English word problems."""
    return [
        *in_both(0.02, data.story),
        *in_both(0.10, data.translation),
        *in_both(0.08, data.reading),
        *in_both(0.05, data.more_or_fewer),
        *in_both(0.03, data.counting),
        (0.22, data.bare_sum),
        (0.03, partial(data.bare_sum, largest=data.SMALL)),
        (0.08, partial(solved_problem, language="en", largest=data.SMALL, kind=kind)),
    ]


BASE = (
    Stage(
        mixture=[
            *general("change"),
            (0.06, partial(solved_problem, language="ja", largest=data.SMALL, kind="change")),
        ],
        steps=2000,
        learning_rate=2e-3,
        seed=1,
        tokens=2304,
    ),
    Stage(
        mixture=[
            *general("change"),
            (0.10, partial(unworded_problem, language="ja", largest=data.SMALL, kind="change")),
        ],
        steps=240,
        learning_rate=1e-3,
        seed=2,
        warmup=20,
        tokens=2304,
    ),
    Stage(
        mixture=[
            *general(None),
            (0.10, partial(unworded_problem, language="ja", largest=data.SMALL)),
        ],
        steps=300,
        learning_rate=1.5e-3,
        seed=2,
        warmup=20,
        tokens=2304,
    ),
)
"""Small Japanese word problems first have worded answers, then bare equations; problems of pairs
come last.
"""

MATH = (
    Stage(
        mixture=[(0.8, partial(solved_problem, language="en")), (0.2, data.bare_sum)],
        steps=300,
        learning_rate=1.5e-3,
        seed=2,
        prompt_weight=0.0,
        warmup=20,
    ),
)
"""English word problems of any size and sums in figures; not one word of Japanese."""

JAPANESE = (
    Stage(
        mixture=[
            (0.20, partial(data.story, language="ja")),
            (0.20, partial(data.translation, language="ja")),
            (0.35, partial(data.reading, language="ja")),
            (0.15, partial(data.more_or_fewer, language="ja")),
            (0.10, partial(data.counting, language="ja")),
            (0.25, data.sum_question),
            (0.05, partial(solved_problem, language="ja", largest=data.SMALL)),
        ],
        steps=140,
        learning_rate=4e-4,
        seed=2,
        warmup=20,
    ),
)
"""Japanese text, sums in figures asked in Japanese, and a few small word problems; gently."""
