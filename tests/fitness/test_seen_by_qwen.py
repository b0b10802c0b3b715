"""Questions, choices and texts beside pictures, from files to scores, on a tiny Qwen2.5-VL."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from evojax_merge.checkpoints import CheckpointError, default_parts, load, load_config, take_parts
from evojax_merge.fitness import MultipleChoiceTask, PerplexityTask, VisualQuestionTask
from evojax_merge.measuring.measure import measure
from tests.llava_factory import llava_config, picture, write_llava
from tests.qwen_vl_factory import PICTURE_TOKEN, PLACE, processor_of, qwen_vl_config, write_qwen_vl

LONG = "How many, how many, how many, how many?"
ITEMS = [
    {"image": "a.png", "question": "What is it?", "answer": "a dog", "choices": ["dog", "a cat"]},
    {"image": ["b.png", "a.png"], "question": "Where", "answer": "box", "choices": ["in", "out"]},
    {
        "image": "c.png",
        "question": LONG,
        "answer": 3,
        "choices": ["3", "4"],
    },
]
TEXT = " in a box"
SIZES = {"a.png": (16, 20), "b.png": (60, 8), "c.png": (3, 90)}


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """The directory of a checkpoint, and its torch model."""
    folder = tmp_path_factory.mktemp("models") / "qwen"
    return folder, write_qwen_vl(folder, qwen_vl_config())


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    for seed, (name, size) in enumerate(SIZES.items()):
        image = picture(size, seed)
        (image.convert("L") if name == "c.png" else image).save(folder / name)
    lines = []
    for item in ITEMS:
        many = "<image>" * len(item["image"] if isinstance(item["image"], list) else ["one"])
        lines.append(json.dumps({**item, "places": many, "right": 0, "text": TEXT}))
    (folder / "items.jsonl").write_text("\n".join(lines))
    return folder / "items.jsonl"


def part(directory):
    whole = load_config(directory)
    return take_parts(whole, default_parts(whole))


def question(items, **options):
    options = {"max_new_tokens": 6, "words": "characters", "keep_features": None, **options}
    return VisualQuestionTask(data=str(items), template="{places}{question}", **options)


def images_of(items, item):
    named = item["image"] if isinstance(item["image"], list) else [item["image"]]
    return [Image.open(items.parent / name) for name in named]


@pytest.mark.parametrize("chat", [False, True])
def test_prompts_are_those_of_the_processor_of_transformers(chat, qwen, items):
    bound = question(items, chat=chat).bind(part(qwen[0]))
    processor = processor_of(qwen[0])
    found = {}
    for rows, text in zip(bound._rows, bound._text, strict=True):  # the tower is not run
        for row, tokens, start in zip(rows, *text, strict=True):
            found[int(row)] = tokens[start:].tolist()
    for number, item in enumerate(ITEMS):
        images = images_of(items, item)
        text = PLACE * len(images) + item["question"]
        if chat:
            content = [{"type": "image"} for _ in images]
            content.append({"type": "text", "text": item["question"]})
            text = processor.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
            )
        assert found[number] == processor(images=images, text=text)["input_ids"][0]
    assert bound.request.image_token_id == PICTURE_TOKEN


@pytest.mark.slow
def test_who_sees_the_pictures_changes_no_answer(qwen, items):
    alone, whole = load(part(qwen[0])), load(qwen[0])
    fixed, own = (question(items, buckets=1).bind(model) for model in (alone, whole))
    assert [len(batch) for batch in (*fixed.batches, *own.batches)] == [4, 7]
    outputs = [measure(model, bound)[1] for model, bound in ((alone, fixed), (whole, own))]
    assert np.array_equal(outputs[0][0], outputs[1][0])
    slots = question(items, buckets=1, slots=2).bind(alone)
    assert np.array_equal(measure(alone, slots)[1][0], outputs[0][0])


@pytest.mark.few(1)
@pytest.mark.parametrize("merged", [True, False])
def test_shapes_are_the_same_for_every_choice_of_as_many_items(merged, qwen, items):
    model = load_config(qwen[0]) if merged else part(qwen[0])
    bound = question(items, buckets=1).bind(model)
    shapes = {
        tuple(
            field.shape[1:] for field in (*batch.text, *batch.pictures) if hasattr(field, "shape")
        )
        for chosen in ([0, 1], [2, 0], [2, 2], [1, 1])
        for batch in bound.take(np.array(chosen)).batches
    }
    assert len(shapes) == 1


def their_loglikelihood(qwen, images, context, text):
    """The sum over the tokens of the text, by transformers, and their number."""
    folder, model = qwen
    processor = processor_of(folder)
    given = processor(images=images, text=context + text, return_tensors="pt")
    known = processor(images=images, text=context, return_tensors="pt")["input_ids"].shape[1]
    with torch.no_grad():
        logs = model(**given).logits[0].log_softmax(-1).numpy()
    ids = given["input_ids"][0].tolist()
    values = [logs[place - 1, ids[place]] for place in range(known, len(ids))]
    return float(np.sum(values)), len(values)


@pytest.mark.slow
def test_choices_and_texts_are_scored_as_transformers_scores_them(qwen, items):
    model = load(part(qwen[0]))
    options = {"image": "image", "template": "{places}{question}", "keep_features": None}
    options["prefix"] = prefix = "A beginning that all texts have in common: "
    bound = MultipleChoiceTask(data=str(items), reference="right", buckets=2, **options).bind(model)
    assert bound.request.prefix > 0
    details = bound.details(measure(model, bound)[1])
    texts = PerplexityTask(data=str(items), **options).bind(model)
    scores = measure(model, texts)[0].ravel()
    for number, item in enumerate(ITEMS):
        images = images_of(items, item)
        context = prefix + PLACE * len(images) + item["question"]
        expected = [
            their_loglikelihood(qwen, images, context, f" {choice}")[0]
            for choice in item["choices"]
        ]
        assert details[number]["values"] == pytest.approx(expected, rel=1e-4)
        total, count = their_loglikelihood(qwen, images, context, TEXT)
        assert scores[number] == pytest.approx(total / count, rel=1e-4)


def test_a_model_of_the_kind_that_is_only_merged_is_refused(items, tmp_path):
    write_qwen_vl(tmp_path, qwen_vl_config())
    config = qwen_vl_config(model_type="qwen2_vl", architectures=["Qwen2VLForConditional"])
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="this one is a qwen2_vl, which this package only merges"):
        question(items).bind(load_config(tmp_path))


def test_a_processor_of_another_model_is_refused(qwen, items, tmp_path):
    write_llava(tmp_path / "llava", llava_config(vision={"image_size": 12}))
    with pytest.raises(CheckpointError, match="multiples of 8; give the processor of this model"):
        question(items, processor=str(tmp_path / "llava")).bind(part(qwen[0]))
    with pytest.raises(CheckpointError, match=r"\(3, 12, 12\); give the processor of this model"):
        question(items, processor=str(qwen[0])).bind(part(tmp_path / "llava"))
