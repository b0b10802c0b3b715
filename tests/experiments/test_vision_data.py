"""The vision experiment's splits are disjoint, and its files are what the generator makes."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from experiments.vision import data, documents, tokenizer, words, world

EVALUATION = ("search", "validation", "test")
PAIRS = tuple(itertools.combinations(words.FRAMES, 2))


def read(split: words.Split) -> list[dict[str, str]]:
    lines = (data.DATA / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def asked(split: words.Split, language: words.Language) -> set[str]:
    """Every question that a split may ask."""
    one, two = (world.Shown(3, 0, 0),), (world.Shown(3, 0, 0), world.Shown(4, 1, 1))
    return {
        world.question(world.Asked(scene, kind, which, frame), language)
        for scene in (one, two)
        for kind in world.KINDS[len(scene)]
        for which in range(len(scene))
        for frame in words.FRAMES[split]
    }


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_splits_share_no_question_and_no_written_digit(
    one: words.Split, other: words.Split, language: words.Language
) -> None:
    assert not asked(one, language) & asked(other, language)
    assert not set(world.ROWS[one]) & set(world.ROWS[other])


@pytest.mark.parametrize("split", EVALUATION)
def test_shipped_files_are_what_the_generator_makes(split: words.Split) -> None:
    items, shipped = list(data.items(split)), read(split)
    assert len(items) == len(shipped) == data.SIZES[split]
    for item, record in zip(items, shipped, strict=True):
        assert (item.question, item.answer) == (record["question"], record["answer"])
        with Image.open(data.DATA / record["image"]) as picture:
            np.testing.assert_array_equal(np.asarray(picture), item.picture)
        assert record["question"] in asked(split, "ja")


def test_english_items_show_the_same_pictures() -> None:
    for one, other in zip(data.items("validation"), data.items("validation", "en"), strict=True):
        np.testing.assert_array_equal(one.picture, other.picture)
        assert one.question != other.question


def test_the_content_of_an_answer_comes_first() -> None:
    scene = (world.Shown(7, 0, 0), world.Shown(3, 1, 1))
    asked = world.Asked(scene, "sum", 0, (0, 0))
    assert world.answer(asked, "en") == "7+3=10."
    assert world.answer(asked, "ja") == "7+3=10です。"
    assert world.answer(asked._replace(kind="colour", which=1), "ja") == "青です。"
    assert world.answer(asked._replace(kind="larger"), "en") == "7."


def test_tokenizers_keep_text_and_differ_in_the_picture_alone() -> None:
    text, pictures = (tokenizer.build(pictures=wanted) for wanted in (False, True))
    assert pictures.get_vocab().items() - text.get_vocab().items() == {("<image>", len(text))}
    rng = np.random.default_rng(0)
    mixtures = (documents.BASE, documents.JAPANESE)
    drawn = [one for mixture in mixtures for one in documents.sample(rng, mixture, 200)]
    texts = [document.prompt + "\n" + document.response for document in drawn]
    texts += [q for split in words.FRAMES for lang in words.LANGUAGES for q in asked(split, lang)]
    for line in texts:
        ids = pictures(line)["input_ids"]
        assert ids == text(line)["input_ids"]
        assert pictures.unk_token_id not in ids
        assert pictures.decode(ids, skip_special_tokens=True) == line
