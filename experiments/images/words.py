"""The words of the images experiment, and the prompts of each split."""

from typing import Literal, NamedTuple

Language = Literal["en", "ja"]
Split = Literal["train", "search", "validation", "test"]
LANGUAGES: tuple[Language, ...] = ("en", "ja")


class Word(NamedTuple):
    """One meaning, written in both languages."""

    en: str
    ja: str

    def of(self, language: Language) -> str:
        """Return it in a language."""
        return self.en if language == "en" else self.ja


class Colour(NamedTuple):
    """A colour: its name, and red, green and blue from 0 to 1."""

    name: Word
    rgb: tuple[float, float, float]


COLOURS = (
    Colour(Word("blue", "青"), (0.2, 0.2, 1.0)),
    Colour(Word("green", "緑"), (0.1, 1.0, 0.1)),
    Colour(Word("purple", "紫"), (1.0, 0.1, 1.0)),
    Colour(Word("red", "赤"), (1.0, 0.1, 0.1)),
    Colour(Word("white", "白"), (1.0, 1.0, 1.0)),
    Colour(Word("yellow", "黄"), (1.0, 1.0, 0.1)),
)
"""In the order of their English names, which is that of the classes of the judge."""

DIGITS = (
    Word("zero", "零"),
    Word("one", "一"),
    Word("two", "二"),
    Word("three", "三"),
    Word("four", "四"),
    Word("five", "五"),
    Word("six", "六"),
    Word("seven", "七"),
    Word("eight", "八"),
    Word("nine", "九"),
)

TEMPLATES: dict[Language, dict[Split, tuple[str, ...]]] = {
    "en": {
        "train": (
            "a {colour} {digit}",
            "the {colour} digit {digit}",
            "{digit} in {colour}",
            "the {digit} is {colour}",
            "a picture of a {colour} {digit}",
            "the digit {digit} in {colour}",
        ),
        "search": ("the digit is a {colour} {digit}", "a {digit} in {colour}"),
        "validation": ("a picture of the {digit} in {colour}",),
        "test": ("the {colour} {digit}", "a digit {digit} in {colour}"),
    },
    "ja": {
        "train": (
            "{colour}の{digit}",
            "{colour}色の{digit}",
            "{digit}が{colour}色",
            "{colour}色の数字{digit}",
            "数字の{digit}は{colour}",
            "{colour}の{digit}の絵",
        ),
        "search": ("{digit}は{colour}色", "{colour}色の{digit}の絵"),
        "validation": ("{colour}の数字{digit}の絵",),
        "test": ("{colour}の数字{digit}", "{digit}が{colour}"),
    },
}
"""The ways to ask for a picture. No two splits share one."""


def prompt(language: Language, split: Split, template: int, colour: int, digit: int) -> str:
    """Write a prompt in a language."""
    return TEMPLATES[language][split][template].format(
        colour=COLOURS[colour].name.of(language), digit=DIGITS[digit].of(language)
    )


def label(colour: int, digit: int) -> str:
    """Name the class of a picture, such as ``red 3``."""
    return f"{COLOURS[colour].name.en} {digit}"


def english_words() -> list[str]:
    """Every English word of the prompts."""
    framed = " ".join(frame for frames in TEMPLATES["en"].values() for frame in frames)
    named = [*(colour.name.en for colour in COLOURS), *(digit.en for digit in DIGITS)]
    return sorted({word for word in framed.split() if "{" not in word} | set(named))


def japanese_signs() -> list[str]:
    """Every character of the Japanese prompts."""
    framed = "".join(frame for frames in TEMPLATES["ja"].values() for frame in frames)
    named = [*(colour.name.ja for colour in COLOURS), *(digit.ja for digit in DIGITS)]
    return sorted({sign for sign in framed if not sign.isascii()} | set(named))
