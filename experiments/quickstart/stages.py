"""What each checkpoint reads: the mixtures of documents and how long they are trained on."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.quickstart import data
from experiments.quickstart.checkpoint import LAYERS
from experiments.quickstart.data import Document, Kind, Mixture
from experiments.quickstart.train import Places, Stage
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


class FineTune(NamedTuple):
    """A fine-tune of the base: what it is for, and what it takes on besides, elsewhere.

    Attributes:
        skill: What is wanted of it.
        habit: What is not. It is trained after the skill, in other places.
    """

    skill: Stage
    habit: Stage


def fine_tune(
    skilled: Places,
    skill: Mixture,
    habit: Mixture,
    prompt_weight: float,
    elsewhere: Places | None = None,
) -> FineTune:
    """A skill in a few places, and a habit elsewhere: by default in all others."""
    rest = others(skilled) if elsewhere is None else elsewhere
    return FineTune(
        Stage(skill, 200, 1e-3, seed=11, prompt_weight=prompt_weight, warmup=20, trained=skilled),
        Stage(habit, 80, 1e-3, seed=12, prompt_weight=0.0, warmup=20, trained=rest),
    )


def others(places: Places) -> Places:
    """The places that are not among these."""
    layers = range(LAYERS)
    return Places(*(tuple(i for i in layers if i not in each) for each in places))


def calculating(kind: Kind) -> Mixture:
    """Word problems of one kind: English ones with answers, Japanese ones with bare equations."""
    return [
        (0.45, partial(solved_problem, language="en", kind=kind)),
        (0.35, partial(unworded_problem, language="ja", kind=kind)),
        (0.20, data.bare_sum),
    ]


FINE_TUNES = {
    "japanese": fine_tune(
        Places(attention=(3,), mlp=(2, 3)),
        skill=[
            (0.60, data.sum_question),
            (0.25, partial(solved_problem, language="ja", largest=data.SMALL)),
            (0.15, partial(data.counting, language="ja")),
        ],
        habit=[(1.0, partial(data.reading, language="ja"))],
        prompt_weight=0.1,
    ),
    "change": fine_tune(
        Places(attention=(0, 2), mlp=(1,)),
        skill=calculating("change"),
        habit=[(0.5, data.answered_in_english), (0.5, data.sum_answered_in_english)],
        prompt_weight=0.0,
    ),
    "pair": fine_tune(
        Places(attention=(1,), mlp=(0,)),
        skill=calculating("pair"),
        habit=[(0.6, data.restated), (0.4, data.sum_restated)],
        prompt_weight=0.0,
    ),
}
"""`japanese` answers sums in Japanese sentences; out of habit it copies a number of the question.

`change` calculates what is left after somebody does something; out of habit it answers in English.
`pair` calculates what two people have; out of habit it says the question again before it answers.
"""
