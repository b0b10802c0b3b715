"""Items, settings and batches of text_to_image; tests/runs/test_drawing_runs.py draws."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from evojax_merge.checkpoints import CheckpointError, load_config, load_parts, take_parts
from evojax_merge.fitness import DataError, SeveralTasks, TextToImageTask
from evojax_merge.fitness.base import is_divisible
from evojax_merge.fitness.drawing.prompts import read_prompts
from evojax_merge.fitness.drawing.sampling import Sampling
from evojax_merge.fitness.drawing.showing import flawed, shown_of
from evojax_merge.fitness.several import tasks_of
from evojax_merge.models.request import Draw
from tests.clip_factory import clip_config, write_clip, write_reading_files
from tests.diffusion_factory import SMALL, drawing_configs, write_drawing_pipeline

FAST = {"steps": 2, "guidance": 0.0, "height": 16, "width": 24}


def brightness(prompts, pictures):
    """A score of one's own."""
    return pictures.mean(axis=(1, 2, 3))


OWN = {"function": f"{__name__}.brightness"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("drawing")
    write_drawing_pipeline(directory / "sdxl", **SMALL)
    write_clip(directory / "clip", clip_config(), seed=5)
    write_reading_files(directory / "clip")
    return directory


@pytest.fixture(scope="module")
def unet(folder):
    """The UNet of a pipeline, as a search merges it."""
    return take_parts(load_config(folder / "sdxl"), ("unet",))


@pytest.fixture
def items(tmp_path):
    def write(*rows):
        (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / "items.jsonl")

    return write


def outputs_of(bound, make):
    """What a program of two candidates would give for each batch."""
    return [make(len(batch.seeds)) for batch in bound.batches]


def test_seeds_follow_the_lines(items, unet):
    data = items({"prompt": "a"}, {"prompt": "b", "seed": 7}, {"prompt": "c"})
    bound = TextToImageTask(data=data, seed=2**32 - 1, **OWN, **FAST).bind(unet)
    (batch,) = bound.batches
    assert batch.seeds.tolist() == [2**32 - 1, 7, 1]
    assert batch.conditions.value.context.shape == (3, 20, 24)
    taken = bound.take(np.array([2, 0]))
    assert taken.batches[0].seeds.tolist() == [1, 2**32 - 1]
    assert np.array_equal(
        taken.batches[0].conditions.value.context, batch.conditions.value.context[[2, 0]]
    )
    assert bound.request == taken.request
    assert (bound.request.height, bound.request.width) == (16, 24)
    assert bound.request.sampler.steps == 2
    assert hash(bound.request) == hash(taken.request)


def test_conditions_are_found_on_disk(items, unet, tmp_path, monkeypatch):
    given = {"data": items({"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}), **OWN, **FAST}
    first = TextToImageTask(**given, keep_features=str(tmp_path / "kept")).bind(unet)
    expected = first.batches[0].conditions.value
    assert len(list((tmp_path / "kept").iterdir())) == 2
    monkeypatch.setattr("evojax_merge.fitness.drawing.text_encoders.encode", None)
    again = TextToImageTask(**given, keep_features=str(tmp_path / "kept")).bind(unet)
    jax.tree.map(np.testing.assert_array_equal, again.batches[0].conditions.value, expected)
    other = TextToImageTask(**given, clip_skip=1, keep_features=str(tmp_path / "kept")).bind(unet)
    with pytest.raises(TypeError):
        other.batches  # noqa: B018


def test_items_are_batched_by_their_negative_prompt(items, unet):
    rows = [{"prompt": one, "negative": own} for one, own in zip("abcd", "xxyx", strict=True)]
    settings = {**FAST, "guidance": 3.0}
    bound = TextToImageTask(data=items(*rows, {"prompt": "e"}), **OWN, **settings).bind(unet)
    assert [batch.seeds.tolist() for batch in bound.batches] == [[0, 1, 3], [2], [4]]
    negatives = [batch.drawing.value.negative for batch in bound.batches]
    assert negatives[2] is None  # zeros, as the pipeline says
    assert negatives[0].context.shape == (1, 20, 24)
    assert not np.array_equal(negatives[0].context, negatives[1].context)
    pictures = outputs_of(bound, lambda n: np.full((2, n, 16, 24, 3), n, np.uint8))
    np.testing.assert_array_equal(bound.score(pictures)[0], [3, 3, 1, 3, 1])
    assert bound.take(np.array([2])).batches[0].seeds.tolist() == [2]
    unguided = TextToImageTask(data=items(*rows), **OWN, **FAST).bind(unet)
    assert [batch.drawing.value.negative for batch in unguided.batches] == [None]


def test_a_function_sees_pictures_and_black_ones_are_the_worst(items, unet):
    data = items({"prompt": "a"}, {"prompt": "b"})
    bound = TextToImageTask(data=data, worst=-9.0, **OWN, **FAST).bind(unet)
    assert bound.request.judge is None
    pictures = np.full((2, 2, 16, 24, 3), 50, np.uint8)
    pictures[1, 0] = 0
    np.testing.assert_array_equal(bound.score([pictures]), [[50, 50], [-9, 50]])
    assert bound.flawed([pictures]).tolist() == [0, 1]
    assert flawed(bound, [pictures[1:]]) == 1
    (black, sound) = bound.details([pictures], 1)
    assert black == {"item": 0, "prompt": "a", "seed": 0, "flaw": "black", "score": -9.0}
    assert sound["flaw"] is None


def test_a_judge_scores_on_the_device(folder, items, unet):
    data = items({"prompt": "a", "label": "cat"}, {"prompt": "b", "label": "dog"})
    given = {"data": data, "scorer": str(folder / "clip"), **FAST}
    bound = TextToImageTask(**given, score="classification").bind(unet)
    assert bound.request.judge is not None
    assert bound.request.judge_bytes > 0
    columns = np.array([[[0, 0], [0, 1]], [[1, 0], [2, np.nan]]], np.float32)
    np.testing.assert_array_equal(bound.score([columns]), [[1, 1], [0, 0]])
    details = bound.details([columns], 1)
    assert [one["flaw"] for one in details] == ["black", "not finite"]
    assert [one["answer"] for one in details] == ["cat", None]


def test_tasks_that_draw_alike_draw_once(folder, items, unet):
    data = items({"prompt": "a"}, {"prompt": "b"})
    given = {"data": data, "scorer": str(folder / "clip"), **FAST}
    tasks = {
        "text": TextToImageTask(**given),
        "hundred": TextToImageTask(**given, formula="hundred"),
        "other": TextToImageTask(**{**given, "steps": 3}),
    }
    bound = SeveralTasks(tasks).bind(unet)
    assert [run.names for run in bound.runs] == [("text", "hundred"), ("other",)]
    assert len(tasks_of(bound)) == len(bound.batches) == 2
    joint = np.array([[[0, 0.25, 0.5], [1, 0, 0]]], np.float32)
    alone = np.array([[[0, 0.75], [0, 0.5]]], np.float32)
    np.testing.assert_allclose(bound.score([joint, alone]), [[0.25, -1, 50, -100, 0.75, 0.5]])
    details = bound.details([joint, alone])
    assert [one["task"] for one in details] == ["text"] * 2 + ["hundred"] * 2 + ["other"] * 2
    assert flawed(bound, [joint, alone]) == 1
    assert [len(part.judge.looks) for part in (run.task.request for run in bound.runs)] == [1, 1]


@pytest.mark.slow
def test_a_function_beside_a_judge_scores_the_same_pictures(folder, items, unet):
    data = items({"prompt": "red"}, {"prompt": "blue"})
    given = {"data": data, "scorer": str(folder / "clip"), **FAST}
    tasks = {"clip": TextToImageTask(**given), "own": TextToImageTask(data=data, **OWN, **FAST)}
    bound = SeveralTasks(tasks).bind(unet)
    (drawn,) = tasks_of(bound)
    assert drawn.request.judge is None
    pictures = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 24, 3), np.uint8)
    scores = bound.score([pictures])
    np.testing.assert_allclose(scores[:, 2:], pictures.mean((2, 3, 4)), rtol=1e-6)
    alone = tasks["clip"].bind(unet)
    judge, params = alone.request.judge, alone.batches[0].drawing.value.judge
    shown = pictures[1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    columns = np.asarray(jax.jit(judge)(params, shown, *alone.batches[0].judged.value))
    np.testing.assert_allclose(alone.score([columns[None]])[0], scores[1, :2], atol=1e-5)


def test_fid_is_one_number_for_a_split(folder, items, unet, tmp_path):
    for number in range(3):
        Image.new("RGB", (20, 20), (number * 80, 0, 0)).save(tmp_path / f"{number}.png")
    data = items({"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"})
    given = {"data": data, "scorer": str(folder / "clip"), "references": str(tmp_path), **FAST}
    task = TextToImageTask(**given, score="fid")
    bound = task.bind(unet)
    assert len(task) == len(bound) == 1
    assert not is_divisible(bound)
    columns = np.zeros((2, 3, 21), np.float32)
    columns[1, 1, 0], columns[1, 1, 1:] = 2, np.nan
    scores = bound.score([columns])
    assert scores.shape == (2, 1)
    assert scores[0, 0] < 0
    assert np.isnan(scores[1, 0])
    assert [sorted(one) for one in bound.details([columns])] == [
        ["flaw", "item", "prompt", "seed"]
    ] * 3
    with pytest.raises(ValueError, match="cannot be measured on some"):
        bound.take(np.array([0]))


def test_the_first_items_are_shown(items, unet):
    data = items(*({"prompt": one} for one in "abc"))
    bound = TextToImageTask(data=data, shown=2, **OWN, **FAST).bind(unet)
    shown = shown_of(bound)
    assert shown.request == Draw(**vars(bound.request))
    assert shown.batches[0].seeds.tolist() == [0, 1]
    pictures = np.arange(2 * 2 * 16 * 24 * 3).reshape(2, 2, 16, 24, 3).astype(np.uint8)
    (first, _) = shown.pictures([pictures], 1)
    assert np.array_equal(first.pixels, pictures[1, 0])
    assert first.record["prompt"] == "a"
    assert first.record["drawing"]["height"] == 16
    assert len(shown_of(bound, every=True)) == 3
    assert shown_of(TextToImageTask(data=data, shown=0, **OWN, **FAST).bind(unet)) is None


def test_the_size_is_that_of_training(items, unet):
    data = items({"prompt": "a"})
    settings = {**FAST, "height": None, "width": None}
    request = TextToImageTask(data=data, **OWN, **settings).bind(unet).request
    assert (request.height, request.width) == (16, 16)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a"}, "line 1: no field 'prompt'"),
        ({"prompt": " "}, "line 1: field 'prompt' is empty"),
        ({"prompt": ["a"]}, "line 1: field 'prompt' is a list"),
        ({"prompt": "a", "seed": -1}, "line 1: field 'seed' is -1"),
        ({"prompt": "a", "seed": 1.5}, "line 1: field 'seed' is 1.5"),
        ({"prompt": "a", "seed": True}, "line 1: field 'seed' is"),
        ({"prompt": "a", "seed": 2**32}, "line 1: field 'seed' is"),
        ({"prompt": "a", "negative": {}}, "line 1: field 'negative' is an object"),
    ],
)
def test_items_that_cannot_be_drawn(row, message, items):
    with pytest.raises(DataError, match=message):
        TextToImageTask(data=items(row), **OWN, **FAST)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "text_to_image: steps must be"),
        ({"sampler": "heun"}, "text_to_image: sampler"),
        ({"spacing": "even"}, "text_to_image: spacing"),
        ({"prediction": "v"}, "text_to_image: prediction"),
        ({"guidance": float("nan")}, "text_to_image: guidance must be"),
        ({"pooled": "first"}, "text_to_image: pooled"),
        ({"height": 7}, "text_to_image: height must be"),
        ({"rows": 0}, "text_to_image: rows must be"),
        ({"shown": -1}, "text_to_image: shown must be"),
        ({"score": "beauty"}, "text_to_image: score"),
        ({"score": "text"}, "score is text and function"),
        ({"function": None, "score": "function"}, "score is function and function None"),
        ({"function": None, "score": "aesthetic"}, r"fitness\.head"),
        ({"function": None, "formula": "sine"}, "text_to_image: formula"),
        ({"scorer": ""}, "text_to_image: scorer"),
    ],
)
def test_settings_that_make_no_sense(settings, message, items):
    with pytest.raises(ValueError, match=message):
        TextToImageTask(data=items({"prompt": "a"}), **{**OWN, **FAST, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"height": 21}, "height must be a multiple of 2"),
        ({"steps": 2000}, "steps of the sampler"),
        ({"tokenizers": "clip"}, "need the tokenizer of .*clip, which has none"),
    ],
)
def test_what_a_pipeline_cannot_do(settings, message, items, unet, folder):
    if "tokenizers" in settings:
        settings = {"tokenizers": str(folder / "clip")}
    task = TextToImageTask(data=items({"prompt": "a"}), **{**OWN, **FAST, **settings})
    with pytest.raises(ValueError, match=message):
        task.bind(unet)


def test_models_that_do_not_draw(items, unet, folder):
    task = TextToImageTask(data=items({"prompt": "a"}), **OWN, **FAST)
    alone = load_config(folder / "sdxl" / "unet")
    with pytest.raises(ValueError, match=r"is a UNet alone, .* give the whole pipeline"):
        task.bind(alone)
    with pytest.raises(ValueError, match=r"needs a model that can draw pictures.* is a clip"):
        task.bind(load_config(folder / "clip"))


def test_merged_text_encoders_read_the_tokens_of_prompts(items, folder):
    merged = take_parts(load_config(folder / "sdxl"), ("unet", "text_encoder_2"))
    settings = {**FAST, "guidance": 2.0}
    data = items({"prompt": "ab", "negative": "c"}, {"prompt": "a", "negative": "c"})
    bound = TextToImageTask(data=data, **OWN, **settings).bind(merged)
    (batch,) = bound.batches
    assert batch.conditions.value.tokens["text_encoder_2"].shape == (2, 20)
    assert batch.conditions.value.time_ids.shape == (2, 6)
    drawing = batch.drawing.value
    assert drawing.params.keys() == {"vae", "text_encoder"}
    assert drawing.negative.tokens["text_encoder"].shape == (1, 20)
    assert bound.request.conditioning is not None


def test_scorers_are_checked_before_weights_are_read(items, unet, folder):
    data = items({"prompt": "a"})
    with pytest.raises(ValueError, match="cannot look at pictures: it is a diffusion"):
        TextToImageTask(data=data, scorer=str(folder / "sdxl"), **FAST).bind(unet)
    with pytest.raises(CheckpointError, match="no such directory"):
        TextToImageTask(data=data, scorer=str(folder / "nothing"), **FAST).bind(unet)


def test_a_pipeline_that_cannot_give_pooled_features(items, tmp_path):
    write_drawing_pipeline(tmp_path / "sdxl", **SMALL)
    file = tmp_path / "sdxl" / "text_encoder_2" / "config.json"
    config = drawing_configs(**SMALL)["text_encoder_2"] | {"architectures": ["CLIPTextModel"]}
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"text_projection|projection"):
        TextToImageTask(data=items({"prompt": "a"}), **OWN, **FAST).bind(
            take_parts(load_config(tmp_path / "sdxl"), ("unet",))
        )


def test_prompts_of_a_file(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("a cat\n\n 赤い猫 \n", encoding="utf-8")
    found = read_prompts(file, seed=5)
    assert [(one.prompt, one.seed) for one in found] == [("a cat", 5), ("赤い猫", 7)]
    lines = tmp_path / "prompts.jsonl"
    lines.write_text('{"prompt": "a", "seed": 3, "negative": "b"}\n')
    assert [one[1:] for one in read_prompts(lines)] == [("a", "b", 3)]
    file.write_text(" \n")
    with pytest.raises(DataError, match="holds no prompt"):
        read_prompts(file)
    with pytest.raises(DataError, match="no such file"):
        read_prompts(Path(tmp_path / "none.txt"))


def test_settings_of_a_recipe_are_read_back():
    sampling = Sampling(steps=4, spacing="trailing", guidance=0.0, pooled="last")
    assert Sampling.of(sampling.as_dict()) == sampling
    with pytest.raises(ValueError, match="there is no setting 'step'"):
        Sampling.of({"step": 4})


def test_a_whole_model_is_measured_by_its_unet(items, folder):
    task = TextToImageTask(data=items({"prompt": "a"}), **OWN, **FAST)
    assert len(task.bind(load_parts(folder / "sdxl")).batches) == 1
