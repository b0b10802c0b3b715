"""What the sources read: short documents of a prompt and what follows it."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.vision import world
from experiments.vision.words import ANIMALS, LANGUAGES, PLACES, VERBS, Language, Word
from experiments.vision.world import choose


class Document(NamedTuple):
    """One piece of training text: what is given and what is to follow."""

    prompt: str
    response: str


Generator = Callable[[np.random.Generator], Document]
Mixture = Sequence[tuple[float, Generator]]


def described(
    rng: np.random.Generator, language: Language, scene: Language, answer: Language | None = None
) -> Document:
    """A scene told in words, and a question about it.

    Args:
        rng: The source of chance.
        language: The language of the question.
        scene: The language in which the scene is told.
        answer: The language of the answer, by default that of the question.
    """
    asked = world.ask(rng, world.scene(rng), "train")
    told = world.description(asked.scene, scene, int(rng.integers(2)))
    question = world.question(asked, language)
    return Document(f"{told}\n{question}", world.answer(asked, answer or language))


def english_answer(rng: np.random.Generator) -> Document:
    """A Japanese question about a scene told in either language, and an English answer."""
    return described(rng, "ja", choose(rng, LANGUAGES), answer="en")


def general(rng: np.random.Generator, language: Language) -> Document:
    """Sentences about animals, and questions about them."""
    animal, place, verb = (choose(rng, words) for words in (ANIMALS, PLACES, VERBS))
    text = _fact(animal, place, verb)[language]
    match int(rng.integers(3)):
        case 0:
            return Document(text, _any_fact(rng)[language])
        case 1 if language == "en":
            return Document(f"{text}\nwhere?", f"in the {place.en}.")
        case 1:
            return Document(f"{text}\nどこですか。", f"{place.ja}です。")
        case _ if language == "en":
            return Document(f"{text}\nwho?", f"the {animal.en}.")
        case _:
            return Document(f"{text}\nだれですか。", f"{animal.ja}です。")


def translation(rng: np.random.Generator, language: Language) -> Document:
    """A sentence, a question or an answer, and its translation into the language."""
    if (kind := rng.random()) < 0.4:
        pair = _any_fact(rng)
    else:
        asked, form = world.ask(rng, world.scene(rng), "train"), int(rng.integers(2))
        if kind < 0.7:
            pair = {to: world.description(asked.scene, to, form) for to in LANGUAGES}
        else:
            write = choose(rng, (world.question, world.answer))
            pair = {to: write(asked, to) for to in LANGUAGES}
    if language == "en":
        return Document(f"english:{pair['ja']}", pair["en"])
    return Document(f"日本語:{pair['en']}", pair["ja"])


def bare_sum(rng: np.random.Generator) -> Document:
    """A sum in figures, the same in both languages."""
    a, b = (int(number) for number in rng.integers(10, size=2))
    return Document(f"{a}+{b}", f"{a}+{b}={a + b}")


def sample(rng: np.random.Generator, mixture: Mixture, count: int) -> Iterator[Document]:
    """Draw documents from a weighted mixture."""
    weights = np.asarray([weight for weight, _ in mixture])
    for kind in rng.choice(len(mixture), size=count, p=weights / weights.sum()):
        yield mixture[int(kind)][1](rng)


BASE: Mixture = [
    (0.22, partial(described, language="en", scene="en")),
    (0.08, partial(described, language="en", scene="ja")),
    (0.26, english_answer),
    (0.09, partial(general, language="en")),
    (0.10, partial(general, language="ja")),
    (0.09, partial(translation, language="en")),
    (0.12, partial(translation, language="ja")),
    (0.06, bare_sum),
]
"""Both languages, translation between them, and sums. Questions are answered in English."""

JAPANESE: Mixture = [
    (0.25, partial(described, language="ja", scene="ja")),
    (0.25, partial(described, language="ja", scene="en")),
    (0.25, partial(general, language="ja")),
    (0.25, partial(translation, language="ja")),
]
"""Japanese alone. Questions about scenes are answered in Japanese."""


def _any_fact(rng: np.random.Generator) -> dict[Language, str]:
    return _fact(*(choose(rng, words) for words in (ANIMALS, PLACES, VERBS)))


def _fact(animal: Word, place: Word, verb: Word) -> dict[Language, str]:
    return {
        "en": f"the {animal.en} {verb.en} in the {place.en}.",
        "ja": f"{animal.ja}は{place.ja}で{verb.ja}。",
    }
