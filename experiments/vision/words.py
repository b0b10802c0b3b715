"""The words of the vision experiment, and the ways in which a question is asked, by split."""

from typing import Literal, NamedTuple

Language = Literal["en", "ja"]
Split = Literal["train", "search", "validation", "test"]
Kind = Literal["number", "colour", "sum", "larger"]
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
    Colour(Word("red", "赤"), (1.0, 0.15, 0.15)),
    Colour(Word("blue", "青"), (0.25, 0.35, 1.0)),
    Colour(Word("green", "緑"), (0.1, 0.9, 0.2)),
    Colour(Word("yellow", "黄"), (1.0, 0.95, 0.1)),
    Colour(Word("white", "白"), (1.0, 1.0, 1.0)),
    Colour(Word("purple", "紫"), (0.75, 0.15, 0.9)),
)
SIDES = (Word("left", "左"), Word("right", "右"))
ANIMALS = (
    Word("dog", "犬"),
    Word("cat", "猫"),
    Word("bird", "鳥"),
    Word("horse", "馬"),
    Word("child", "子供"),
    Word("bear", "熊"),
)
PLACES = (
    Word("park", "公園"),
    Word("house", "家"),
    Word("forest", "森"),
    Word("school", "学校"),
    Word("town", "町"),
)
VERBS = (
    Word("runs", "走ります"),
    Word("sleeps", "寝ます"),
    Word("plays", "遊びます"),
    Word("eats", "食べます"),
    Word("waits", "待ちます"),
)

ONE_OF_TWO = (
    Word("the {side} number", "{side}の数字は"),
    Word("the number on the {side}", "{side}にある数字は"),
    Word("the {side} one", "{side}の方は"),
    Word("the one on the {side}", "{side}の方の数字は"),
)
"""What a question is about, where there are two digits."""

THE_ONLY_ONE = (
    Word("the number", "数字は"),
    Word("the number in the picture", "絵の数字は"),
    Word("the only number", "絵にある数字は"),
    Word("the only number in the picture", "一つの数字は"),
)
"""What a question is about, where there is one digit."""

SUBJECTS: dict[Kind, tuple[Word, ...]] = {
    "number": ONE_OF_TWO,
    "colour": ONE_OF_TWO,
    "sum": (
        Word("the sum", "合計は"),
        Word("the sum of the two", "二つの合計は"),
        Word("the total", "全部で"),
        Word("the total of the two", "二つの数字の合計は"),
    ),
    "larger": (
        Word("larger", "どちらの数字が"),
        Word("the larger one", "どちらが"),
        Word("greater", "二つのどちらが"),
        Word("the greater one", "左と右のどちらが"),
    ),
}
PREDICATES: dict[Kind, tuple[Word, ...]] = {
    "number": (
        Word("what is {}?", "{}何ですか。"),
        Word("which number is {}?", "{}どの数字ですか。"),
        Word("what number is {}?", "{}いくつですか。"),
    ),
    "colour": (
        Word("what colour is {}?", "{}何色ですか。"),
        Word("which colour is {}?", "{}どの色ですか。"),
        Word("what is the colour of {}?", "{}どんな色ですか。"),
    ),
    "sum": (
        Word("what is {}?", "{}いくつですか。"),
        Word("what number is {}?", "{}何ですか。"),
        Word("how much is {}?", "{}いくつになりますか。"),
    ),
    "larger": (
        Word("which is {}?", "{}大きいですか。"),
        Word("which number is {}?", "{}より大きいですか。"),
        Word("which of the two is {}?", "{}大きい数字ですか。"),
    ),
}

HELD_OUT: dict[Split, tuple[tuple[int, int], ...]] = {
    "search": ((0, 2), (3, 1)),
    "validation": ((1, 0),),
    "test": ((2, 2),),
}
"""The pairs (subject, predicate) of each split. Training has all the others."""

FRAMES: dict[Split, tuple[tuple[int, int], ...]] = {
    **HELD_OUT,
    "train": tuple(
        (subject, predicate)
        for subject in range(4)
        for predicate in range(3)
        if not any((subject, predicate) in pairs for pairs in HELD_OUT.values())
    ),
}
