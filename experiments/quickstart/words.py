"""The words and sentence frames of the quickstart corpus, divided among the splits.

Word problems of one split share no name, no object and no sentence frame with those of another.
"""

from typing import Literal, NamedTuple

Language = Literal["en", "ja"]
Split = Literal["train", "search", "validation", "test"]
LANGUAGES: tuple[Language, ...] = ("en", "ja")
SPLITS: tuple[Split, ...] = ("train", "search", "validation", "test")


class Word(NamedTuple):
    """One meaning, written in both languages."""

    en: str
    ja: str


class Verb(NamedTuple):
    """What somebody does: third person present, polite past, and what it does to the count."""

    en: str
    ja: str
    sign: str


class Frames(NamedTuple):
    """The sentence frames of a word problem: how it opens, what happens, what is asked."""

    openings: tuple[str, ...]
    changes: tuple[str, ...]
    questions: tuple[str, ...]


class Pair(NamedTuple):
    """The sentence frames of a problem of two people: what they have, and what is asked."""

    openings: tuple[str, ...]
    sums: tuple[str, ...]
    differences: tuple[str, ...]


NAMES: dict[Split, tuple[Word, ...]] = {
    "train": (
        Word("Ken", "けん"),
        Word("Mika", "みか"),
        Word("Taro", "たろう"),
        Word("Yuki", "ゆき"),
        Word("Emi", "えみ"),
        Word("Ryo", "りょう"),
        Word("Nana", "なな"),
        Word("Sora", "そら"),
    ),
    "search": (Word("Hana", "はな"), Word("Jun", "じゅん"), Word("Rika", "りか")),
    "validation": (Word("Kota", "こうた"), Word("Mei", "めい"), Word("Saki", "さき")),
    "test": (Word("Akira", "あきら"), Word("Yui", "ゆい"), Word("Goro", "ごろう")),
}

OBJECTS: dict[Split, tuple[Word, ...]] = {
    "train": (
        Word("apples", "りんご"),
        Word("eggs", "たまご"),
        Word("stones", "いし"),
        Word("boxes", "はこ"),
        Word("pears", "なし"),
        Word("candies", "あめ"),
        Word("keys", "かぎ"),
        Word("balls", "ボール"),
    ),
    "search": (Word("oranges", "みかん"), Word("bells", "すず"), Word("nuts", "くり")),
    "validation": (Word("peaches", "もも"), Word("potatoes", "いも"), Word("cups", "コップ")),
    "test": (Word("buttons", "ボタン"), Word("melons", "メロン"), Word("beans", "まめ")),
}

VERBS: tuple[Verb, ...] = (
    Verb("gets", "もらいました", "+"),
    Verb("buys", "買いました", "+"),
    Verb("finds", "見つけました", "+"),
    Verb("makes", "作りました", "+"),
    Verb("picks", "ひろいました", "+"),
    Verb("loses", "なくしました", "-"),
    Verb("sells", "売りました", "-"),
    Verb("gives", "あげました", "-"),
    Verb("uses", "使いました", "-"),
    Verb("drops", "おとしました", "-"),
)

PLACES: tuple[Word, ...] = (
    Word("house", "いえ"),
    Word("box", "はこ"),
    Word("bag", "かばん"),
    Word("sack", "ふくろ"),
    Word("room", "へや"),
    Word("shop", "みせ"),
)
TIMES: tuple[Word, ...] = (
    Word("Today", "今日"),
    Word("Then", "そのあと"),
    Word("Later", "あとで"),
    Word("First", "はじめに"),
    Word("Now", "今"),
    Word("Again", "また"),
)

FRAMES: dict[Split, dict[Language, Frames]] = {
    "train": {
        "en": Frames(
            ("{name} has {a} {object}.", "{name}'s house has {a} {object}."),
            ("{name} {verb} {b}.", "{name} {verb} {b} {object}.", "Today {name} {verb} {b}."),
            ("How many?", "How many {object}?", "How many now?"),
        ),
        "ja": Frames(
            ("{name}は{object}を{a}こもっています。", "{name}のいえに{object}が{a}こあります。"),
            ("{b}こ{verb}。", "{name}は{b}こ{verb}。", "今日{b}こ{verb}。"),
            ("なんこですか。", "{object}はなんこですか。", "今なんこですか。"),
        ),
    },
    "search": {
        "en": Frames(
            ("{name}'s box has {a} {object}.",),
            ("Again {name} {verb} {b}.",),
            ("How many are there?",),
        ),
        "ja": Frames(
            ("{name}のはこに{object}が{a}こあります。",),
            ("また{b}こ{verb}。", "今{b}こ{verb}。"),
            ("今なんこありますか。", "今{object}はなんこですか。"),
        ),
    },
    "validation": {
        "en": Frames(
            ("{name}'s bag has {a} {object}.",),
            ("Later {name} {verb} {b}.",),
            ("How many {object} now?",),
        ),
        "ja": Frames(
            ("{name}のかばんに{object}が{a}こあります。",),
            ("あとで{b}こ{verb}。",),
            ("{object}は今なんこですか。",),
        ),
    },
    "test": {
        "en": Frames(
            ("{name}'s room has {a} {object}.",),
            ("Then {name} {verb} {b} {object}.",),
            ("How many are there now?", "How many {object} are there?"),
        ),
        "ja": Frames(
            ("{name}のへやに{object}が{a}こあります。",),
            ("{name}はそのあと{b}こ{verb}。",),
            ("なんこになりますか。", "{object}はなんこありますか。"),
        ),
    },
}

PAIRS: dict[Split, dict[Language, Pair]] = {
    "train": {
        "en": Pair(
            ("{name} has {a} {object}, {other} {b}.", "{name} has {a} {object}. {other} has {b}."),
            ("How many together?", "How many {object} together?"),
            ("What is the difference?", "How many more has {name}?"),
        ),
        "ja": Pair(
            (
                "{name}は{object}を{a}こ、{other}は{b}こもっています。",
                "{object}が{name}に{a}こ、{other}に{b}こあります。",
            ),
            ("あわせてなんこですか。", "{object}はあわせてなんこですか。"),
            ("ちがいはなんこですか。", "{object}のちがいはなんこですか。"),
        ),
    },
    "search": {
        "en": Pair(
            ("{name}'s box has {a} {object}, {other}'s {b}.",),
            ("How many are there together?",),
            ("What is their difference?",),
        ),
        "ja": Pair(
            ("{name}のはこに{object}が{a}こ、{other}のには{b}こあります。",),
            ("今あわせてなんこですか。", "あわせてなんこありますか。"),
            ("今ちがいはなんこですか。", "ちがいはなんこありますか。"),
        ),
    },
    "validation": {
        "en": Pair(
            ("{name}'s bag has {a} {object}, {other}'s bag {b}.",),
            ("How many {object} are they together?",),
            ("How many {object} is the difference?",),
        ),
        "ja": Pair(
            ("{name}のかばんに{object}が{a}こ、{other}のかばんに{b}こあります。",),
            ("{object}は今あわせてなんこですか。",),
            ("{object}の今のちがいはなんこですか。",),
        ),
    },
    "test": {
        "en": Pair(
            ("{name}'s room has {a} {object} and {other}'s {b}.",),
            ("How many are they now together?", "How many {object} are there together?"),
            ("What is the difference now?", "What is the difference of {object}?"),
        ),
        "ja": Pair(
            ("{name}のへやに{object}が{a}こ、{other}のへやに{b}こあります。",),
            ("あわせてなんこになりますか。", "{object}はあわせてなんこありますか。"),
            ("ちがいはなんこになりますか。", "{object}のちがいはなんこありますか。"),
        ),
    },
}

ALL_NAMES: tuple[Word, ...] = tuple(word for split in SPLITS for word in NAMES[split])
ALL_OBJECTS: tuple[Word, ...] = tuple(word for split in SPLITS for word in OBJECTS[split])
