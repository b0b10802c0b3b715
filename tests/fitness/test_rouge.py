"""ROUGE-L by hand, by the table of dynamic programming, and by rouge_score if it is installed."""

import importlib.machinery
import sys
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evojax_merge.fitness import words
from evojax_merge.fitness.rouge import longest_common_subsequence, rouge_l
from evojax_merge.fitness.words import characters, chosen_words, english_words, japanese_words

WORDS = st.lists(st.sampled_from("abcd"), max_size=90)


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        # Lin, 2004, section 3.1: with β = 1, "police killed the gunman" and two summaries.
        ("police killed the gunman", "police kill the gunman", 3 / 4),
        ("police killed the gunman", "the gunman kill police", 2 / 4),
        ("a b c d e f", "a c e", 2 * 3 / 9),
        ("a b c", "a b c", 1),
        ("a b c", "c b a", 1 / 3),
        ("a a a a", "a a", 2 * 2 / 6),
        ("a b", "c d e", 0),
        ("", "a", 0),
        ("a", "", 0),
        ("", "", 0),
    ],
)
def test_examples(reference, candidate, expected):
    assert rouge_l(reference.split(), candidate.split()) == pytest.approx(expected, abs=1e-15)


@given(WORDS, WORDS)
def test_the_longest_common_subsequence_is_that_of_the_table(first, second):
    above = [0] * (len(second) + 1)
    for one in first:
        row = [0]
        for place, other in enumerate(second):
            equal = above[place] + 1 if one == other else 0
            row.append(max(above[place + 1], row[-1], equal))
        above = row
    assert longest_common_subsequence(first, second) == above[-1]


@given(st.text("ab c.D1", max_size=40), st.text("ab c.D1", max_size=40))
def test_the_package_rouge_score_gives_the_same(reference, candidate):
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    expected = rouge_scorer.RougeScorer(["rougeL"]).score(reference, candidate)["rougeL"].fmeasure
    found = rouge_l(english_words(reference), english_words(candidate))
    assert found == pytest.approx(expected, abs=1e-12)


def test_words_without_a_dictionary():
    assert " ".join(english_words("It's  12 O'clock, à la mode.")) == "it s 12 o clock la mode"
    assert characters("犬 が\n２ﾋﾟｷ") == list("犬が2ピキ")


def _module(name, **members):
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(members)
    return module


@pytest.fixture
def japanese(monkeypatch):
    """Stand-ins of the packages, which write down what they are given."""
    seen = []
    tagger = SimpleNamespace(parse=lambda text: seen.append(text) or " ".join(text) + "\n")
    normalize = lambda text: text.replace("～", "")  # noqa: E731
    modules = [
        _module("emoji", is_emoji=lambda one: one == "☀"),
        _module("neologdn", normalize=normalize),
        _module("fugashi", Tagger=lambda options: tagger if options == "-Owakati" else None),
    ]
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)
    words._japanese_tools.cache_clear()
    yield seen
    words._japanese_tools.cache_clear()


def test_japanese_words_are_cut_after_the_steps_of_the_evaluation(japanese):
    assert chosen_words("auto", "task") == "japanese"
    assert japanese_words(" 犬☀が\U0001f600～ \n 2匹✂ ") == list("犬が2匹")
    assert japanese == ["犬が 2匹"]


def test_where_there_is_no_dictionary_characters_are_compared_and_it_is_said(monkeypatch):
    monkeypatch.setattr(words, "_MODULES", ("emoji", "no_such_module", "neologdn"))
    words._japanese_tools.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"task: .*no_such_module.*characters.*\[japanese\]"):
        assert chosen_words("auto", "task") == "characters"
    with pytest.raises(ValueError, match=r"need .*no_such_module.*\[japanese\]"):
        chosen_words("japanese", "task")
    assert chosen_words("characters", "task") == "characters"
    with pytest.raises(ValueError, match="task: words is 'mecab'; use one of auto, japanese"):
        chosen_words("mecab", "task")
