"""Pictures are classified as transformers' torch model does it, and what is wrong is named."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from transformers import CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from evojax_merge import load
from evojax_merge.checkpoints import load_config
from evojax_merge.fitness import digit_pictures_task, image_classification_task
from evojax_merge.gradient import Descendable, ReferenceLikelihood
from evojax_merge.gradient.entropy import PredictionEntropy
from evojax_merge.measuring.measure import measure
from evojax_merge.models.ability import Common
from evojax_merge.models.clip.logits import logits
from tests.clip_factory import (
    IMAGE,
    clip_config,
    tower_config,
    write_clip,
    write_pictures,
    write_reading_files,
)

TEMPLATES = ["a photo of a {}.", "a {} picture"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP, its vision tower alone as older releases spell it, and pictures of three classes."""
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder / "clip", clip_config())
    write_reading_files(folder / "clip")
    write_pictures(folder / "data")
    tower = folder / "tower"
    tower.mkdir()
    (tower / "config.json").write_text(json.dumps(tower_config("vision")))
    held = load_file(folder / "clip" / "model.safetensors")
    held = {name: leaf for name, leaf in held.items() if name.startswith("vision_model.")}
    save_file(held, tower / "model.safetensors")
    return folder


def task_of(folder, **options):
    return image_classification_task(str(folder / "data" / "pictures.jsonl"), **options)


@pytest.fixture(scope="module")
def expected(folder):
    """Logits of torch, the class being the mean of its prompts' directions."""
    clip = load_config(folder / "clip")
    model = CLIPModel.from_pretrained(folder / "clip")
    texts = [t.replace("{}", name) for name in ("blue", "green", "red") for t in TEMPLATES]
    encoded = clip.tokenizer(texts, padding=True, return_tensors="pt")
    images = [Image.open(folder / "data" / f"{number}.png") for number in range(6)]
    processor = CLIPImageProcessorPil.from_pretrained(folder / "clip")
    pixels = torch.from_numpy(processor(images, return_tensors="np")["pixel_values"])
    with torch.no_grad():
        words = model.get_text_features(encoded["input_ids"]).pooler_output
        seen = model.get_image_features(pixels).pooler_output
    words = torch.nn.functional.normalize(words, dim=-1).reshape(3, 2, -1).mean(1)
    words, seen = (torch.nn.functional.normalize(one, dim=-1) for one in (words, seen))
    return (model.logit_scale.exp() * seen @ words.T).detach().numpy()


@pytest.fixture(autouse=True)
def precise():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.mark.slow
def test_logits_equal_those_of_transformers(folder, expected):
    model, bound = load(folder / "clip"), task_of(folder, templates=TEMPLATES)
    bound = bound.bind(model)
    assert bound.batches[0].pictures.shape == (6, 3, IMAGE, IMAGE)
    items, (found,) = measure(model, bound)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    labels = np.array([2, 1, 0, 2, 1, 0])
    np.testing.assert_array_equal(items, expected.argmax(-1) == labels)
    assert bound.details([found])[1]["reference"] == "green"
    assert bound.details([found])[1]["picture"] == "1.png"
    pictures, pixels, classes = (getattr(f, "value", f) for f in bound.batches[0])
    in_parts = logits(model.config, model.params, jnp.asarray(pictures), pixels, classes, rows=4)
    np.testing.assert_allclose(in_parts, expected, atol=1e-4)
    part = bound.take(np.array([4, 0]))
    np.testing.assert_allclose(measure(model, part)[1][0][0], expected[[4, 0]], atol=1e-4)


def test_a_frozen_text_tower_and_a_head_take_the_place_of_the_models_own(folder, expected):
    """The same directions, through the projection that a tower alone has not."""
    tower, clip = load(folder / "tower"), str(folder / "clip")
    assert tower.config.prefixed
    task = task_of(folder, templates=TEMPLATES, text=clip, processor=clip)
    _, (found,) = measure(tower, task.bind(tower))
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    head = task.bind(tower).batches[0].classes.value
    weight = np.asarray(head.weight) @ np.asarray(head.projection)
    save_file({"weight": weight, "bias": np.zeros(3, np.float32)}, folder / "head.safetensors")
    linear = task_of(folder, head=str(folder / "head.safetensors"), processor=clip)
    _, (found,) = measure(tower, linear.bind(tower))
    np.testing.assert_array_equal(found[0].argmax(-1), expected.argmax(-1))
    with pytest.raises(ValueError, match="no text tower to read class names"):
        task_of(folder, processor=clip).bind(tower)
    with pytest.raises(ValueError, match=r"reads 24 features, and the model gives 20"):
        linear.bind(load_config(clip))


@pytest.mark.slow
def test_merges_are_differentiable_by_labels_and_without_them(folder, expected):
    model = load(folder / "clip")
    bound = task_of(folder, templates=TEMPLATES).bind(model)

    def merge_fn(params, genotype):
        return jax.tree.map(lambda leaf: leaf * genotype[0], params)

    space = Descendable(model.family, model.config, merge_fn, model.params, bound)
    logs = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
    own = ReferenceLikelihood(*space, 4).items(jnp.ones(1))
    np.testing.assert_allclose(own, -logs[np.arange(6), [2, 1, 0, 2, 1, 0]], atol=1e-4)
    slope = PredictionEntropy(*space, 4, 0.5).gradient(jax.random.key(0), jnp.ones(1))
    assert slope.items == 4
    assert np.isfinite(slope.gradient).all()
    assert np.abs(slope.gradient).max() > 1e-4


def test_folders_are_classes_and_labels_may_be_put_into_words(folder, tmp_path):
    for number in range(6):
        place = tmp_path / ("n1", "n2", "n3")[number % 3]
        place.mkdir(exist_ok=True)
        Image.open(folder / "data" / f"{number}.png").save(place / f"{number}.jpg")
    words = {"n3": "blue", "n1": "red", "n2": "green"}
    task = image_classification_task(str(tmp_path), classes=words, split=[0.5, 0.5])
    assert sorted([*task.examples.labels, *task.on("test").examples.labels]) == [0, 0, 1, 1, 2, 2]
    bound = task.bind(load_config(folder / "clip"))
    tokens = bound.batches[0].classes.value.tokens
    assert tokens[:, 0, 5].tolist() == [2, 0, 1]


def test_what_rows_have_in_common_is_not_chosen_from():
    field = Common(np.arange(3))
    assert field[np.array([0])] is field
    assert jax.tree.leaves(jax.device_put(field))[0].tolist() == [0, 1, 2]


def test_digits_turn_and_are_asked_for_their_parity():
    upright, turned = (digit_pictures_task(view=view).examples for view in ("upright", "turned"))
    first, second = (np.asarray(one.pictures[0].source) for one in (upright, turned))
    np.testing.assert_array_equal(np.rot90(first), second)
    odd = digit_pictures_task("parity", "negative").examples
    np.testing.assert_array_equal(odd.labels, upright.labels % 2)
    np.testing.assert_array_equal(np.asarray(odd.pictures[0].source), 255 - first)


LINES = {
    "missing": ({"image": "no.png", "label": "red"}, "line 2: picture 'no.png': no such file"),
    "label": ({"image": "1.png", "label": "gren"}, "line 2: label 'gren' .*mean green"),
    "number": ({"image": "1.png", "label": 7}, "line 2: label 7 is none of the 3 classes"),
    "field": ({"picture": "1.png", "label": "red"}, "line 2: no field 'image'"),
    "no text": ({"image": 1, "label": "red"}, "line 2: field 'image' is 1; give the path"),
    "truth": ({"image": "1.png", "label": True}, "line 2: field 'label' is True; give the name"),
    "folder": ({"image": ".", "label": "red"}, "line 2: picture '.': is no regular file"),
}


@pytest.mark.parametrize("name", LINES)
def test_items_that_cannot_be_used_are_named_by_file_and_line(folder, name):
    line, message = LINES[name]
    first = (folder / "data" / "pictures.jsonl").read_text().splitlines()[0]
    path = folder / "data" / "broken.jsonl"
    path.write_text(f"{first}\n{json.dumps(line)}\n")
    with pytest.raises(ValueError, match=message):
        image_classification_task(str(path), classes=["red", "green", "blue"])


def test_a_picture_that_cannot_be_read_is_named_before_weights_are(folder):
    (folder / "data" / "cut.png").write_bytes((folder / "data" / "1.png").read_bytes()[:300])
    path = folder / "data" / "cut.jsonl"
    path.write_text(json.dumps({"image": "cut.png", "label": "red"}) + "\n")
    with pytest.raises(ValueError, match=r"cut\.jsonl, line 1: cut\.png cannot be read"):
        image_classification_task(str(path)).bind(load_config(folder / "clip"))


def test_tasks_and_models_that_do_not_fit(folder, tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps({"image": "x.png", "label": 0}) + "\n")
    Image.new("L", (9, 9)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"line 1: label 0 is a number; name the classes"):
        image_classification_task(str(tmp_path / "x.jsonl"))
    np.savez(tmp_path / "head.npz", weight=np.ones((2, 20), np.float32))
    with pytest.raises(ValueError, match=r"the head has 2 classes, and the data has 3 \(blue"):
        task_of(folder, head=str(tmp_path / "head.npz"))
    np.savez(tmp_path / "head.npz", wieght=np.ones((2, 20), np.float32))
    with pytest.raises(ValueError, match="holds wieght; a head has weight"):
        task_of(folder, head=str(tmp_path / "head.npz"))
    with pytest.raises(ValueError, match=r"holds no pictures; give a folder with a folder"):
        image_classification_task(str(tmp_path))
    with pytest.raises(ValueError, match="needs a model that can classify pictures"):
        task_of(folder).bind(SimpleNamespace(config=SimpleNamespace(hidden_sizes=(4, 2))))
    with pytest.raises(ValueError, match=r"tower has no preprocessor_config\.json"):
        task_of(folder, text=str(folder / "clip")).bind(load_config(folder / "tower"))
    long = task_of(folder, templates=["a " * 20 + "{}"])
    with pytest.raises(ValueError, match="has 23 tokens, and the text tower reads 12"):
        long.bind(load_config(folder / "clip"))
