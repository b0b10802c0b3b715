"""The quickstart's splits are disjoint, reproducible and answerable; its tokenizer keeps text."""

import itertools
import json
import re

import jax
import numpy as np
import pytest
from transformers import AutoTokenizer

from evojax_merge.models.decoder import modeling
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.params.tree import flatten
from experiments.quickstart import data, stages, words
from experiments.quickstart.checkpoint import llama_config
from experiments.quickstart.tokenizer import build_tokenizer, save_tokenizer
from experiments.quickstart.train import train

EVALUATION = ("search", "validation", "test")
PAIRS = tuple(itertools.combinations(words.SPLITS, 2))
ASKED = {"あわせて": "+", "ちがい": "-"}
EVALUATION_PAIRS = tuple(itertools.combinations(EVALUATION, 2))


def read(split: words.Split) -> list[dict[str, str]]:
    lines = (data.DATA / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def skeleton(question: str) -> str:
    """A question without its numbers, names, objects and verbs: its frame."""
    fills = (*words.ALL_NAMES, *words.ALL_OBJECTS, *words.VERBS)
    for text in sorted((word.ja for word in fills), key=len, reverse=True):
        question = question.replace(text, "_")
    return re.sub(r"\d+", "0", question)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_splits_share_no_name_object_or_frame(one: words.Split, other: words.Split) -> None:
    assert not set(words.NAMES[one]) & set(words.NAMES[other])
    assert not set(words.OBJECTS[one]) & set(words.OBJECTS[other])
    for language in words.LANGUAGES:
        for frames in (words.FRAMES, words.PAIRS):
            for mine, theirs in zip(frames[one][language], frames[other][language], strict=True):
                assert not set(mine) & set(theirs)


@pytest.mark.parametrize(("one", "other"), EVALUATION_PAIRS)
def test_shipped_items_do_not_overlap(one: words.Split, other: words.Split) -> None:
    mine = [item["question"] for item in read(one)]
    theirs = [item["question"] for item in read(other)]
    assert not set(mine) & set(theirs)
    assert not set(map(skeleton, mine)) & set(map(skeleton, theirs))


@pytest.mark.parametrize("split", EVALUATION)
def test_training_never_draws_a_shipped_item(split: words.Split) -> None:
    shipped = {item["question"] for item in read(split)}
    frames = {skeleton(question) for question in shipped}
    rng = np.random.default_rng(0)
    drawn = [data.word_problem(rng, "train", "ja").question for _ in range(5000)]
    assert not shipped & set(drawn)
    assert not frames & set(map(skeleton, drawn))


@pytest.mark.parametrize("split", EVALUATION)
def test_shipped_files_are_what_the_generator_writes(split: words.Split, tmp_path) -> None:
    data.write_evaluation_files(tmp_path)
    shipped = (data.DATA / f"{split}.jsonl").read_bytes()
    assert (tmp_path / f"{split}.jsonl").read_bytes() == shipped
    questions = [item["question"] for item in read(split)]
    assert len(questions) == len(set(questions)) == data.SPLIT_SIZES[split]


@pytest.mark.parametrize("split", EVALUATION)
def test_answers_follow_from_the_questions(split: words.Split) -> None:
    for item in read(split):
        first, second = map(int, re.findall(r"\d+", item["question"]))
        signs = {v.sign for v in words.VERBS if v.ja in item["question"]}
        signs |= {sign for word, sign in ASKED.items() if word in item["question"]}
        (sign,) = signs
        assert int(item["answer"]) == (first + second if sign == "+" else first - second)
        assert item["language"] == "ja"


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("split", words.SPLITS)
def test_tokenizer_keeps_every_character(split: words.Split, language: words.Language) -> None:
    tokenizer = build_tokenizer()
    rng = np.random.default_rng(1)
    documents = [data.solved(data.word_problem(rng, split, language)) for _ in range(100)]
    for kind in (data.story, data.translation, data.reading, data.more_or_fewer, data.counting):
        documents += [kind(rng, language) for _ in range(100)]
    habits = (data.answered_in_english, data.sum_answered_in_english, data.restated)
    for habit in (*habits, data.sum_restated):
        documents += [habit(rng) for _ in range(25)]
    for document in documents:
        text = data.PROMPT_TEMPLATE.format(question=document.prompt) + document.response
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert ids[0] == tokenizer.bos_token_id
        assert len(ids) == len(text) + 1
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_saved_tokenizer_reloads_the_same(tmp_path) -> None:
    save_tokenizer(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    built = build_tokenizer()
    assert reloaded.get_vocab() == built.get_vocab()
    assert reloaded(["けん 3\n", "a"], padding=True) == built(["けん 3\n", "a"], padding=True)
    assert (reloaded.pad_token, reloaded.bos_token, reloaded.eos_token) == ("<pad>", "<s>", "</s>")


def test_more_search_items_begin_with_the_shipped_ones_and_are_new() -> None:
    questions = [problem.question for problem in data.evaluation_problems("search", count=1024)]
    assert len(set(questions)) == 1024
    assert questions[:512] == [item["question"] for item in read("search")]
    for split in ("validation", "test"):
        others = {item["question"] for item in read(split)}
        assert not set(questions) & others
        assert not set(map(skeleton, questions)) & set(map(skeleton, others))


@pytest.mark.parametrize("kind", ["change", "pair"])
def test_half_of_the_items_are_of_either_kind(kind: data.Kind) -> None:
    asked = [any(word in item["question"] for word in ASKED) for item in read("test")]
    assert 0.4 < np.mean(asked) < 0.6
    rng = np.random.default_rng(0)
    drawn = [data.word_problem(rng, "train", "ja", kind=kind).question for _ in range(50)]
    assert {any(word in question for word in ASKED) for question in drawn} == {kind == "pair"}


def test_a_stage_trains_only_its_places() -> None:
    tokenizer = build_tokenizer()
    config = DecoderConfig.from_hf(llama_config(tokenizer).to_dict())
    params = modeling.init_params(config, jax.random.key(0))
    skill, habit = stages.FINE_TUNES["pair"]
    trained = flatten(train(config, params, tokenizer, skill._replace(steps=2, warmup=1)))
    for path, before in flatten(params).items():
        changed = np.flatnonzero((trained[path] != before).reshape(len(before), -1).any(axis=1))
        kind = "attention" if ".self_attn." in path else "mlp" if ".mlp." in path else None
        assert tuple(changed) == (() if kind is None else getattr(skill.trained, kind)), path
    for own, rest in zip(skill.trained, habit.trained, strict=True):
        assert sorted((*own, *rest)) == list(range(config.num_layers))
