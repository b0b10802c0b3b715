"""Choices and texts beside pictures are scored as transformers scores them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from evojax_merge.checkpoints import default_parts, load, load_config, take_parts
from evojax_merge.fitness import DataError, MultipleChoiceTask, PerplexityTask
from evojax_merge.fitness.references import references_of
from evojax_merge.measuring.measure import measure
from tests.fitness.conftest import language_model
from tests.llava_factory import PICTURE_TOKEN, llava_config, picture, write_llava

TEMPLATE = "<image>\n{question}"
ITEMS = [
    {"image": "a.png", "question": "What is it?", "choices": ["dog", "a cat"], "answer": 0},
    {"image": ["b.png"], "question": "Where", "choices": ["here", "there", "no"], "answer": 2},
]


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """The torch model, its directory, and the language model of the checkpoint."""
    folder = tmp_path_factory.mktemp("models") / "llava_next"
    model = write_llava(folder, llava_config("llava_next"))
    whole = load_config(folder)
    return model, folder, load(take_parts(whole, default_parts(whole)))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate("ab"):
        picture((30, 20 + 17 * seed), seed).save(folder / f"{name}.png")
    return folder


def items_of(folder, *items):
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return str(folder / "items.jsonl")


def their_loglikelihood(seeing, file, context, text):
    """The sum over the tokens of the text, by transformers, and their number."""
    model, folder, _ = seeing
    processor = AutoProcessor.from_pretrained(folder)
    image = Image.open(file)
    given = processor(images=image, text=context + text, return_tensors="pt")
    known = processor(images=image, text=context, return_tensors="pt")["input_ids"].shape[1]
    with torch.no_grad():
        logs = model(**given).logits[0].log_softmax(-1).numpy()
    ids = given["input_ids"][0].tolist()
    values = [logs[place - 1, ids[place]] for place in range(known, len(ids))]
    return float(np.sum(values)), len(values)


def test_choices_are_scored_as_transformers_scores_them(seeing, data):
    path = items_of(data, *ITEMS)
    options = {"image": "image", "template": TEMPLATE, "buckets": 1, "keep_features": None}
    bound = MultipleChoiceTask(data=path, **options).bind(seeing[2])
    _, outputs = measure(seeing[2], bound)
    for item, details in zip(ITEMS, bound.details(outputs), strict=True):
        file = data / (item["image"][0] if isinstance(item["image"], list) else item["image"])
        context = TEMPLATE.format(**item)
        expected = [
            their_loglikelihood(seeing, file, context, f" {text}")[0] for text in item["choices"]
        ]
        assert details["values"] == pytest.approx(expected, rel=1e-4)
    some = bound.take(np.array([1]))
    assert np.array_equal(some.batches[0].pictures[0], bound.batches[0].pictures[0][2:])
    assert bound.request.image_token_id == PICTURE_TOKEN
    with pytest.raises(ValueError, match="likelihood of right answers read no pictures"):
        references_of(bound)


def test_texts_are_scored_as_transformers_scores_them(seeing, data):
    item = {"image": "b.png", "text": " a red dog"}
    options = {"image": "image", "template": "<image>\nIt is", "keep_features": None}
    bound = PerplexityTask(data=items_of(data, item), **options).bind(seeing[2])
    scores, _ = measure(seeing[2], bound)
    total, count = their_loglikelihood(seeing, data / "b.png", options["template"], item["text"])
    assert bound.tokens.tolist() == [count]
    assert scores.ravel() == pytest.approx(total / count, rel=1e-4)
    with pytest.raises(DataError, match=r"line 1: a text with pictures has .* windows of 20"):
        PerplexityTask(data=items_of(data, item), length=20, **options).bind(seeing[2])


@pytest.mark.parametrize("kind", [MultipleChoiceTask, PerplexityTask])
def test_places_and_models_are_checked(kind, data):
    path = items_of(data, {**ITEMS[0], "text": "a"})
    with pytest.raises(DataError, match="line 1: the prompt has 0 places for 1 picture"):
        kind(data=path, image="image", template="{question}")
    with pytest.raises(ValueError, match="this task needs a model that sees pictures"):
        kind(data=path, image="image", template=TEMPLATE).bind(language_model())
