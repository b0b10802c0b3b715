"""The images experiment's splits are disjoint, and its files are what the generator makes."""

import itertools
import json

import numpy as np
import pytest

from experiments.images import data, words, world
from experiments.images.tokenizer import LENGTH, build

EVALUATION: tuple[words.Split, ...] = ("search", "validation", "test")
PAIRS = tuple(itertools.combinations(("train", *EVALUATION), 2))
SHOWN = tuple(itertools.product(range(len(words.COLOURS)), range(len(words.DIGITS))))


def read(split: words.Split) -> list[dict[str, object]]:
    lines = (data.DATA / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def prompts(split: words.Split, language: words.Language) -> dict[str, str]:
    """Every prompt that a split may have, and the class of its picture."""
    return {
        words.prompt(language, split, template, colour, digit): words.label(colour, digit)
        for template in range(len(words.TEMPLATES[language][split]))
        for colour, digit in SHOWN
    }


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_splits_share_no_prompt(
    one: words.Split, other: words.Split, language: words.Language
) -> None:
    assert not prompts(one, language).keys() & prompts(other, language).keys()


@pytest.mark.parametrize("split", EVALUATION)
def test_shipped_files_are_what_the_generator_makes(split: words.Split) -> None:
    shipped, known = read(split), prompts(split, "ja")
    assert shipped == data.items(split)
    assert all(known[item["prompt"]] == item["label"] for item in shipped)
    counts = dict.fromkeys(known.values(), 0)
    for item in shipped:
        counts[item["label"]] += 1
    assert len(counts) == len(SHOWN)
    assert set(counts.values()) == {data.TIMES[split]}


def test_no_two_items_begin_with_the_same_noise() -> None:
    seeds = [item["seed"] for split in EVALUATION for item in read(split)]
    assert len(set(seeds)) == len(seeds)


def test_classes_are_numbered_in_alphabetical_order() -> None:
    labels = [words.label(colour, digit) for colour, digit in SHOWN]
    assert labels == sorted(labels)


def test_the_judge_sees_no_digit_of_the_drawers() -> None:
    assert not set(world.ROWS["draw"]) & set(world.ROWS["judge"])


def test_pictures_show_their_colour_at_an_even_place() -> None:
    drawn = world.pictures(np.random.default_rng(0), 200, "draw")
    for picture, colour in zip(drawn.pixels, drawn.colours, strict=True):
        rgb = np.float32(words.COLOURS[colour].rgb)
        brightest = picture.reshape(3, -1)[:, picture.sum(0).argmax()]
        np.testing.assert_allclose(brightest / brightest.max(), rgb, atol=1e-6)
        rows, columns = (np.flatnonzero(picture.any((0, axis))) for axis in (2, 1))
        assert np.ptp(rows) < 8
        assert np.ptp(columns) < 8


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("split", ["train", *EVALUATION])
def test_every_word_and_every_sign_is_a_token(split: words.Split, language: words.Language) -> None:
    tokenizer = build()
    for text in prompts(split, language):
        ids = tokenizer(text)["input_ids"]
        parts = text.split() if language == "en" else list(text)
        assert len(ids) == len(parts) + 2 <= LENGTH
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
    assert ids[0] == len(tokenizer) - 2
    assert ids[-1] == len(tokenizer) - 1
