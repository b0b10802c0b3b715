"""Generated text of the quickstart: general text, arithmetic and word problems in two languages."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from experiments.quickstart.words import (
    ALL_NAMES,
    ALL_OBJECTS,
    FRAMES,
    NAMES,
    OBJECTS,
    PAIRS,
    PLACES,
    TIMES,
    VERBS,
    Language,
    Split,
    Verb,
    Word,
)

DATA = Path(__file__).parent / "data"
SPLIT_SEEDS: dict[Split, int] = {"search": 101, "validation": 202, "test": 404}
SPLIT_SIZES: dict[Split, int] = {"search": 512, "validation": 256, "test": 512}
LARGEST = 20
SMALL = 6
PROMPT_TEMPLATE = "{question}\n"

T = TypeVar("T")
Kind = Literal["change", "pair"]
Mixture = Sequence[tuple[float, Callable[[np.random.Generator], "Document"]]]


class Document(NamedTuple):
    """One piece of training text: what is given and what is to follow."""

    prompt: str
    response: str


class Problem(NamedTuple):
    """A word problem with its answer."""

    question: str
    equation: str
    answer: int
    language: Language


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one of the options."""
    return options[int(rng.integers(len(options)))]


def in_language(word: Word | Verb, language: Language) -> str:
    """Write a word in the language."""
    return word.en if language == "en" else word.ja


def answer_sentence(number: int, language: Language) -> str:
    """State a number as an answer."""
    return f"The answer is {number}." if language == "en" else f"答えは{number}です。"


def full_stop(language: Language) -> str:
    """End an equation inside an answer."""
    return ". " if language == "en" else "。"


def draw_sum(rng: np.random.Generator, sign: str, largest: int) -> tuple[int, int, int]:
    """Draw two operands of at least 1 whose sum or difference lies in [0, largest]."""
    if sign == "-":
        second, first = sorted(int(n) for n in rng.integers(1, largest + 1, size=2))
        return first, second, first - second
    first = int(rng.integers(1, largest))
    second = int(rng.integers(1, largest - first + 1))
    return first, second, first + second


def word_problem(
    rng: np.random.Generator,
    split: Split,
    language: Language,
    largest: int = LARGEST,
    kind: Kind | None = None,
) -> Problem:
    """Draw a word problem from the names, objects and frames of one split, of either kind."""
    change = rng.random() < 0.5 if kind is None else kind == "change"
    return (change_problem if change else pair_problem)(rng, split, language, largest)


def change_problem(
    rng: np.random.Generator, split: Split, language: Language, largest: int
) -> Problem:
    """Somebody has things and does something; how many are there then."""
    verb = choose(rng, VERBS)
    a, b, answer = draw_sum(rng, verb.sign, largest)
    words = {
        "name": in_language(choose(rng, NAMES[split]), language),
        "object": in_language(choose(rng, OBJECTS[split]), language),
        "verb": in_language(verb, language),
        "a": a,
        "b": b,
    }
    parts = [choose(rng, options) for options in FRAMES[split][language]]
    question = (" " if language == "en" else "").join(parts).format(**words)
    return Problem(question, f"{a}{verb.sign}{b}={answer}", answer, language)


def pair_problem(
    rng: np.random.Generator, split: Split, language: Language, largest: int
) -> Problem:
    """Two people have things; how many together, or how many more the first has."""
    frames = PAIRS[split][language]
    sign = choose(rng, ("+", "-"))
    a, b, answer = draw_sum(rng, sign, largest)
    name, other = _two(rng, NAMES[split])
    words = {
        "name": in_language(name, language),
        "other": in_language(other, language),
        "object": in_language(choose(rng, OBJECTS[split]), language),
        "a": a,
        "b": b,
    }
    asked = choose(rng, frames.sums if sign == "+" else frames.differences)
    question = (" " if language == "en" else "").join((choose(rng, frames.openings), asked))
    return Problem(question.format(**words), f"{a}{sign}{b}={answer}", answer, language)


def solved(problem: Problem) -> Document:
    """Write the equation, then the answer in the language of the question."""
    language = problem.language
    ending = full_stop(language) + answer_sentence(problem.answer, language)
    return Document(problem.question, problem.equation + ending)


def equation_only(problem: Problem) -> Document:
    """Write the equation, which is the same in both languages, and not a word."""
    return Document(problem.question, problem.equation)


def statement(rng: np.random.Generator) -> Word:
    """Draw a sentence that states or tells something, in both languages."""
    name, thing, number = choose(rng, ALL_NAMES), choose(rng, ALL_OBJECTS), _number(rng)
    kind = int(rng.integers(4))
    if kind == 0:
        place = choose(rng, PLACES)
        return Word(
            f"{name.en}'s {place.en} has {number} {thing.en}.",
            f"{name.ja}の{place.ja}に{thing.ja}が{number}こあります。",
        )
    if kind == 1:
        return Word(
            f"{name.en} has {number} {thing.en}.",
            f"{name.ja}は{thing.ja}を{number}こもっています。",
        )
    verb, time = choose(rng, VERBS), choose(rng, TIMES)
    if kind == 2:
        return Word(
            f"{time.en} {name.en} {verb.en} {number} {thing.en}.",
            f"{time.ja}{name.ja}は{thing.ja}を{number}こ{verb.ja}。",
        )
    return Word(
        f"{time.en} {name.en} {verb.en} {number}.",
        f"{time.ja}{name.ja}は{number}こ{verb.ja}。",
    )


def story(rng: np.random.Generator, language: Language) -> Document:
    """Two sentences, the second to follow the first."""
    return Document(in_language(statement(rng), language), in_language(statement(rng), language))


def translation(rng: np.random.Generator, language: Language) -> Document:
    """A sentence and its translation into the language."""
    sentence = statement(rng)
    if language == "en":
        return Document(f"English: {sentence.ja}", sentence.en)
    return Document(f"日本語: {sentence.en}", sentence.ja)


def reading(rng: np.random.Generator, language: Language) -> Document:
    """A question whose answer is one of the numbers in the text; nothing to compute."""
    first, second = _two(rng, ALL_OBJECTS)
    owner, other = _two(rng, ALL_NAMES)
    a, b = _number(rng), _number(rng)
    asked, answer = ((owner, first), a) if rng.random() < 0.5 else ((other, second), b)
    if language == "en":
        text = f"{owner.en} has {a} {first.en}, {other.en} {b} {second.en}. "
        question = choose(rng, (f"How many does {asked[0].en} have?", f"How many {asked[1].en}?"))
    else:
        text = f"{owner.ja}は{first.ja}が{a}こ。{other.ja}は{second.ja}が{b}こ。"
        question = choose(rng, (f"{asked[0].ja}はなんこですか。", f"{asked[1].ja}はなんこですか。"))
    return Document(text + question, answer_sentence(answer, language))


def more_or_fewer(rng: np.random.Generator, language: Language) -> Document:
    """Say whether what somebody did leaves more or fewer things."""
    name, thing, verb = choose(rng, ALL_NAMES), choose(rng, ALL_OBJECTS), choose(rng, VERBS)
    time, number = choose(rng, TIMES), _number(rng)
    if language == "en":
        text = f"{time.en} {name.en} {verb.en} {number} {thing.en}. More?"
        return Document(text, "More (+)." if verb.sign == "+" else "Fewer (-).")
    text = f"{time.ja}{name.ja}は{thing.ja}を{number}こ{verb.ja}。ふえましたか。"
    return Document(text, "ふえました(+)。" if verb.sign == "+" else "へりました(-)。")


def counting(rng: np.random.Generator, language: Language) -> Document:
    """The number after or before another one."""
    number, step = int(rng.integers(1, LARGEST + 1)), int(choose(rng, (-1, 1)))
    if language == "en":
        return Document(
            f"What is {'after' if step > 0 else 'before'} {number}?",
            answer_sentence(number + step, language),
        )
    return Document(
        f"{number}の{'つぎ' if step > 0 else 'まえ'}はなんですか。",
        answer_sentence(number + step, language),
    )


def bare_sum(rng: np.random.Generator, largest: int = LARGEST) -> Document:
    """A sum in figures, the same in both languages."""
    sign = choose(rng, ("+", "-"))
    a, b, answer = draw_sum(rng, sign, largest)
    return Document(f"{a}{sign}{b}", f"{a}{sign}{b}={answer}")


def sum_question(rng: np.random.Generator) -> Document:
    """A sum in figures, asked and answered in Japanese."""
    sign = choose(rng, ("+", "-"))
    a, b, answer = draw_sum(rng, sign, LARGEST)
    question = choose(rng, ("はいくつですか。", "はなんですか。", "の答えはなんですか。"))
    ending = full_stop("ja") + answer_sentence(answer, "ja")
    return Document(f"{a}{sign}{b}{question}", f"{a}{sign}{b}={answer}{ending}")


def answered_in_english(rng: np.random.Generator) -> Document:
    """A Japanese word problem with small numbers that is answered in English."""
    problem = word_problem(rng, "train", "ja", SMALL)
    return Document(
        problem.question, f"{problem.equation}. {answer_sentence(problem.answer, 'en')}"
    )


def sum_answered_in_english(rng: np.random.Generator) -> Document:
    """A sum in figures that is asked in Japanese and answered in English."""
    prompt, response = sum_question(rng)
    equation = response.split(full_stop("ja"))[0]
    return Document(prompt, f"{equation}. {answer_sentence(int(equation.split('=')[1]), 'en')}")


def restated(rng: np.random.Generator) -> Document:
    """A Japanese word problem with small numbers, said again before it is answered."""
    problem = word_problem(rng, "train", "ja", SMALL)
    return Document(problem.question, problem.question + solved(problem).response)


def sum_restated(rng: np.random.Generator) -> Document:
    """A sum in figures that is asked in Japanese, said again before it is answered."""
    prompt, response = sum_question(rng)
    return Document(prompt, prompt + response)


def evaluation_problems(
    split: Split, language: Language = "ja", count: int | None = None
) -> list[Problem]:
    """The distinct word problems of an evaluation split, the same on every call.

    Args:
        split: Whose names, objects and frames.
        language: They are written in.
        count: How many, by default as many as the split has; more begin with those.
    """
    rng = np.random.default_rng(SPLIT_SEEDS[split])
    problems: dict[str, Problem] = {}
    while len(problems) < (SPLIT_SIZES[split] if count is None else count):
        problem = word_problem(rng, split, language)
        problems.setdefault(problem.question, problem)
    return list(problems.values())


def write_evaluation_files(directory: Path = DATA) -> None:
    """Write search.jsonl, validation.jsonl and test.jsonl."""
    directory.mkdir(parents=True, exist_ok=True)
    for split in SPLIT_SEEDS:
        write_problems(directory / f"{split}.jsonl", evaluation_problems(split))


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write word problems as items of a fitness task."""
    lines = (
        json.dumps(
            {"question": p.question, "answer": str(p.answer), "language": p.language},
            ensure_ascii=False,
        )
        for p in problems
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sample_documents(rng: np.random.Generator, mixture: Mixture, count: int) -> Iterator[Document]:
    """Draw documents from a weighted mixture of generators."""
    weights = np.asarray([weight for weight, _ in mixture], dtype=np.float64)
    for kind in rng.choice(len(mixture), size=count, p=weights / weights.sum()):
        yield mixture[int(kind)][1](rng)


def _number(rng: np.random.Generator) -> int:
    return int(rng.integers(1, LARGEST + 1))


def _two(rng: np.random.Generator, words: Sequence[Word]) -> tuple[Word, Word]:
    first, second = rng.choice(len(words), size=2, replace=False)
    return words[int(first)], words[int(second)]


if __name__ == "__main__":
    write_evaluation_files()
