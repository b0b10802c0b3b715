"""Questions about pictures, from files to scores, on tiny LLaVAs."""

import json

import numpy as np
import pytest
from PIL import Image
from transformers import AutoProcessor

from evojax_merge.checkpoints import CheckpointError, default_parts, load, load_config, take_parts
from evojax_merge.fitness import DataError, VisualQuestionTask
from evojax_merge.measuring.measure import measure
from evojax_merge.models.seeing.config import PARTS
from tests.fitness.conftest import language_model, written
from tests.llava_factory import PICTURE_TOKEN, llava_config, picture, write_llava

ITEMS = [
    {"image": "pictures/a.png", "question": "What is it?", "answer": "a red dog"},
    {"image": "pictures/b.jpg", "question": "Where", "answer": ["in a box", "box"]},
    {"image": "pictures/c.webp", "question": "How many? " * 9, "answer": 3},
    {"image": "pictures/a.png", "question": "What colour", "answer": "赤い犬です"},
]
SIZES = {"a.png": (16, 16), "b.jpg": (40, 17), "c.webp": (20, 50)}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for kind in ("llava", "llava_next"):
        write_llava(folder / kind, llava_config(kind))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "pictures").mkdir()
    for seed, (name, size) in enumerate(SIZES.items()):
        picture(size, seed).save(folder / "pictures" / name)
    return folder


def items_of(folder, *items, name="items.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return str(path)


@pytest.fixture
def items(data):
    return items_of(data, *ITEMS)


def part(directory, *names):
    """The language model of a checkpoint, or other parts."""
    whole = load_config(directory)
    return take_parts(whole, names or default_parts(whole))


def task(path, **options):
    options = {"max_new_tokens": 8, "words": "characters", "keep_features": None, **options}
    return VisualQuestionTask(data=path, **options)


def shown(bound):
    """The tokens of each item without padding."""
    found = {}
    for rows, batch in zip(bound._rows, bound.batches, strict=True):
        for row, tokens, start in zip(rows, batch.text.tokens, batch.text.start, strict=True):
            found[int(row)] = tokens[start:].tolist()
    return [found[item] for item in range(len(bound))]


@pytest.mark.parametrize("kind", ["llava", "llava_next"])
@pytest.mark.parametrize("chat", [False, True])
def test_prompts_are_those_of_the_processor_of_transformers(kind, chat, models, data, items):
    bound = task(items, chat=chat).bind(part(models / kind))
    processor = AutoProcessor.from_pretrained(models / kind)
    for item, tokens in zip(ITEMS, shown(bound), strict=True):
        text = f"<image>\n{item['question']}"
        if chat:
            content = [{"type": "image"}, {"type": "text", "text": item["question"]}]
            text = processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
        image = Image.open(data / item["image"])
        assert tokens == processor(images=image, text=text)["input_ids"][0]
    assert bound.request.image_token_id == PICTURE_TOKEN


@pytest.mark.parametrize("chat", [False, True])
def test_an_example_brings_its_picture(chat, models, data, items):
    example = {"image": ITEMS[1]["image"], "question": "What else?", "answer": ["A.", "B."]}
    (data / "examples.jsonl").write_text(json.dumps(example))
    few_shot = {"data": str(data / "examples.jsonl"), "separator": "\n"}
    bound = task(items, chat=chat, few_shot=few_shot).bind(part(models / "llava"))
    processor = AutoProcessor.from_pretrained(models / "llava")
    for item, tokens in zip(ITEMS, shown(bound), strict=True):
        text = f"<image>\nWhat else? A.\n<image>\n{item['question']}"
        if chat:
            turns = [
                {"role": role, "content": [{"type": "image"}] * (role == "user") + [text]}
                for role, text in (
                    ("user", {"type": "text", "text": "What else?"}),
                    ("assistant", {"type": "text", "text": "A."}),
                    ("user", {"type": "text", "text": item["question"]}),
                )
            ]
            text = processor.apply_chat_template(turns, add_generation_prompt=True)
        images = [Image.open(data / one["image"]) for one in (example, item)]
        assert tokens == processor(images=images, text=text)["input_ids"][0]


@pytest.mark.slow
def test_who_sees_the_pictures_changes_no_answer(models, items):
    part_alone, whole = load(part(models / "llava")), load(models / "llava")
    options = {"max_new_tokens": 4, "buckets": 1}
    fixed, own = (task(items, **options).bind(model) for model in (part_alone, whole))
    assert [len(batch) for batch in (*fixed.batches, *own.batches)] == [3, 5]
    scores, outputs = measure(part_alone, fixed)
    same_scores, same_outputs = measure(whole, own)
    assert np.array_equal(outputs[0], same_outputs[0])
    assert np.array_equal(scores, same_scores)


@pytest.mark.slow
@pytest.mark.parametrize("names", [("projector",), ("vision_tower",), ("language_model",), PARTS])
def test_whatever_is_merged_sees_tiles_alike(names, models, items):
    expected, found = (
        measure(load(one), task(items).bind(one))[1]
        for one in (load_config(models / "llava_next"), part(models / "llava_next", *names))
    )
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))


@pytest.mark.slow
def test_some_items_are_answered_as_all_are(models, items):
    model = load(part(models / "llava_next"))
    bound = task(items, max_new_tokens=2, buckets=2).bind(model)
    chosen = np.array([2, 0])
    some = bound.take(chosen)
    assert {batch.text.tokens.shape[1:] for batch in some.batches} <= {
        batch.text.tokens.shape[1:] for batch in bound.batches
    }
    shapes = {batch.text.tokens.shape[1]: batch.pictures[0].shape[1:] for batch in bound.batches}
    assert all(
        batch.pictures[0].shape[1:] == shapes[batch.text.tokens.shape[1]] for batch in some.batches
    )
    answers = {}
    for one in (bound, some):
        scores, outputs = measure(model, one)
        details = one.details(outputs)
        assert [record["score"] for record in details] == pytest.approx(scores.ravel().tolist())
        answers[one] = [record["text"] for record in details]
    assert answers[some] == [answers[bound][row] for row in chosen]


def test_scores_and_details(models, items):
    bound = task(items, max_new_tokens=32).bind(part(models / "llava"))
    texts = [["a red dog", "the box", "3", "赤い犬"], ["", "in a box", "it is 3", "dog"]]
    outputs = written(bound, texts)
    scores = bound.score(outputs)
    # Common characters over the mean length; white space is no character.
    expected = [[1, 2 * 3 / 9, 1, 2 * 3 / 8], [0, 1, 2 * 1 / 6, 0]]
    assert scores == pytest.approx(np.array(expected))
    details = bound.details(outputs, 1)[1]
    assert (details["pictures"], details["text"]) == (["pictures/b.jpg"], "in a box")
    assert (details["references"], details["score"]) == (["in a box", "box"], 1.0)


@pytest.mark.parametrize(
    ("score", "expected"),
    [("exact", [1, 0, 0, 0]), ("contains", [1, 1, 1, 1]), ("number", [0, 0, 1, 0])],
)
def test_other_scores(score, expected, models, data):
    answers = ["a red dog", ["box", "no 7"], 3, "赤い"]
    if score == "number":
        answers = [1, [7, 8], 3, 4]
    given = [{**item, "answer": one} for item, one in zip(ITEMS, answers, strict=True)]
    bound = task(items_of(data, *given), score=score, max_new_tokens=32).bind(
        part(models / "llava")
    )
    outputs = written(bound, [["a red dog", "in a box", "it is 3.0, no 3", "赤い犬"]])
    assert bound.score(outputs).tolist() == [expected]


def test_a_text_in_another_language_is_empty_where_the_answer_is_in_the_language(models, items):
    bound = task(items, language="ja", max_new_tokens=32).bind(part(models / "llava"))
    outputs = written(bound, [["a red dog", "box", "3", "the 赤い犬です is red"], ITEMS_RIGHT])
    assert bound.score(outputs).tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


ITEMS_RIGHT = ["a red dog", "box", "3", "赤い犬です"]


def test_several_pictures_in_one_prompt(models, data):
    several = {**ITEMS[0], "image": ["pictures/b.jpg", "pictures/a.png"]}
    template = "<image> and <image>: {question}"
    bound = task(items_of(data, several), template=template).bind(part(models / "llava_next"))
    processor = AutoProcessor.from_pretrained(models / "llava_next")
    images = [Image.open(data / name) for name in several["image"]]
    text = template.replace("{question}", ITEMS[0]["question"])
    (tokens,) = shown(bound)
    assert tokens == processor(images=images, text=text)["input_ids"][0]
    assert np.abs(bound.batches[0].pictures[0][0]).min() > 0


def test_one_view_reads_a_model_of_tiles_as_one_without(models, items):
    bound = task(items, views="one").bind(part(models / "llava_next"))
    assert all(one.count(PICTURE_TOKEN) == 16 for one in shown(bound))
    tiled = task(items).bind(part(models / "llava_next"))
    whole = {}
    for one in (bound, tiled):
        for rows, batch in zip(one._rows, one.batches, strict=True):
            for row, features in zip(rows, batch.pictures[0], strict=True):
                whole[one, int(row)] = features[:16]
    square = (bound, 0), (tiled, 0)  # of a square picture the first tile is the same
    assert np.allclose(*(whole[one] for one in square), atol=1e-6)


def test_prompts_share_their_beginning_up_to_the_first_picture(models, data, items):
    prefix = "Look closely at what is to be seen here. "
    bound = task(items, prefix=prefix, template=prefix + "<image>{question}").bind(
        part(models / "llava")
    )
    ids = shown(bound)[0]
    assert bound.request.prefix == ids.index(PICTURE_TOKEN) > 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "pictures/none.png"}, r"line 1: picture 'pictures/none.png': no such file"),
        ({"image": "../secret.png"}, "outside of the data's directory .*; move it there"),
        ({"image": "pictures/link.png"}, "outside of the data's directory .*; move it there"),
        ({"image": []}, r"line 1: field 'image' is \[\]; give the path of a picture"),
        ({"image": 3}, r"line 1: field 'image' is 3; give the path of a picture"),
        ({"image": ["pictures/a.png"] * 2}, "line 1: the prompt has 1 place for 2 pictures"),
        ({"question": "<image>?"}, "line 1: the prompt has 2 places for 1 picture; write <image>"),
        ({"answer": []}, "line 1: field 'answer' is an empty list"),
        ({"answer": [None]}, "line 1: field 'answer' is null; give a text or a number"),
        ({"answer": " "}, "line 1: field 'answer': it is blank"),
    ],
)
def test_items_that_make_no_sense(change, message, data):
    picture((4, 4)).save(data.parent / "secret.png")
    link = data / "pictures" / "link.png"
    if not link.exists():
        link.symlink_to(data.parent / "secret.png")
    with pytest.raises(DataError, match=message):
        task(items_of(data, {**ITEMS[0], **change}))


@pytest.mark.parametrize("damage", ["truncated", "no picture", "bomb"])
def test_pictures_that_cannot_be_read(damage, models, data, monkeypatch):
    file = data / "pictures" / "bad.png"
    picture((64, 64)).save(file)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:2_000])
    elif damage == "no picture":
        file.write_text("not a picture")
    else:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    bad = task(items_of(data, {**ITEMS[0], "image": "pictures/bad.png"}))
    monkeypatch.setattr("evojax_merge.fitness.picture_features.load", None)
    with pytest.raises(DataError, match=r"line 1: pictures/bad.png cannot be read as a picture"):
        bad.bind(part(models / "llava"))


def test_models_that_do_not_fit(models, items, tmp_path):
    with pytest.raises(ValueError, match="visual_question: this task needs a model that sees"):
        task(items).bind(language_model())
    with pytest.raises(CheckpointError, match=r"has no preprocessor_config.json, which"):
        task(items, processor=str(tmp_path)).bind(part(models / "llava"))
    with pytest.raises(CheckpointError, match="into 1 views, and the model sees"):
        task(items, processor=str(models / "llava")).bind(part(models / "llava_next"))
    with pytest.raises(ValueError, match="the model's context has 512"):
        task(items, max_new_tokens=500).bind(part(models / "llava"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "rouge"}, "visual_question: score is 'rouge'; use one of number, exact"),
        ({"views": "two"}, "visual_question: views is 'two'; use one of auto, one"),
        ({"words": "french"}, "visual_question: words is 'french'; use one of auto, japanese"),
        ({"extract": "x"}, "visual_question: no extract mode 'x'"),
        ({"image": ""}, "visual_question: image"),
    ],
)
def test_settings_that_make_no_sense(options, message, items):
    with pytest.raises(ValueError, match=message):
        task(items, **options)
