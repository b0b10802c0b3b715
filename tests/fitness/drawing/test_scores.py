"""What scores make of pictures, compared with torch and with independent transcriptions."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image
from safetensors.numpy import save_file
from transformers import CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.drawing.aesthetic import Aesthetic, read_affine
from evojax_merge.fitness.drawing.frechet import Frechet, Moments, frechet_distance
from evojax_merge.fitness.drawing.items import Item
from evojax_merge.fitness.drawing.judge import BLACK, NOT_FINITE, SOUND, judge_of
from evojax_merge.fitness.drawing.labels import Labels
from evojax_merge.fitness.drawing.network import Networks
from evojax_merge.fitness.drawing.own_function import OwnFunction
from evojax_merge.fitness.drawing.similarity import FORMULAS, Similarity
from tests.clip_factory import clip_config, tower_config, write_clip, write_reading_files

PROMPTS = ("red photo", "a green picture of blue", "a photo of a red red picture of blue")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scorers") / "clip"
    write_clip(folder, clip_config(), seed=5)
    write_reading_files(folder)
    return str(folder)


@pytest.fixture(scope="module")
def drawn():
    """Pictures of two candidates as files hold them, larger than the network reads."""
    rng = np.random.default_rng(7)
    rough = rng.integers(0, 256, (6, 9, 9, 3), np.uint8)
    large = [np.asarray(Image.fromarray(one).resize((40, 32))) for one in rough]
    return np.stack(large).reshape(2, 3, 32, 40, 3)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(8)
    found = []
    for number, prompt in enumerate(PROMPTS):
        rough = Image.fromarray(rng.integers(0, 256, (7, 7, 3), np.uint8))
        rough.resize((30, 24)).save(folder / f"{number}.png")
        fields = {"prompt": prompt, "image": f"{number}.png", "label": ("red", "blue")[number % 2]}
        record = Record(str(folder / "items.jsonl"), number + 1, fields)
        found.append(Item(record, prompt, "", number))
    return tuple(found)


def records(items):
    return {"search": [item.record for item in items]}


def judged(bound, drawn):
    """What the judge says of pictures, and what the score makes of it."""
    judge, networks = judge_of([bound])
    params = (tuple(one.params for one in networks), (bound.params,))
    shown = [jnp.asarray(own.transpose(0, 3, 1, 2), jnp.float32) / 255 for own in drawn]
    run = jax.jit(judge)
    columns = np.stack([np.asarray(run(params, own, *bound.fields)) for own in shown])
    rows = np.arange(drawn.shape[1])
    return columns[..., 0], bound.results(columns[..., 1:], rows)


def of_torch(clip, pictures, prompts):
    """Directions of pictures and of prompts by transformers' CLIP and its processor."""
    model = CLIPModel.from_pretrained(clip).eval()
    pixels = CLIPImageProcessorPil.from_pretrained(clip)(pictures, return_tensors="pt")
    tokens = [_tokens(prompt) for prompt in prompts]
    with torch.no_grad():
        seen = model.get_image_features(**pixels)
        read = [model.get_text_features(torch.tensor([own])) for own in tokens]
    seen = getattr(seen, "pooler_output", seen)
    read = torch.cat([getattr(one, "pooler_output", one) for one in read])
    return (torch.nn.functional.normalize(one, dim=-1).numpy() for one in (seen, read))


def _tokens(prompt):
    from tests.clip_factory import EOS, LENGTH, VOCAB, WORDS

    ids = [VOCAB - 2, *(WORDS.index(word) for word in prompt.split())][: LENGTH - 1]
    return [*ids, EOS]


# The two resize differently by what Pillow rounds, see test_preparation.py.
CLOSE = {"atol": 0.02}


def test_similarity_to_prompts_is_that_of_torch(clip, drawn, items):
    bound = Similarity(clip, None, "cosine", "test").bind(items, Networks("test", None))
    flat = [Image.fromarray(one) for one in drawn.reshape(-1, *drawn.shape[2:])]
    seen, read = of_torch(clip, flat, PROMPTS)
    flaws, results = judged(bound, drawn)
    assert (flaws == SOUND).all()
    np.testing.assert_allclose(results, (seen.reshape(2, 3, -1) * read).sum(-1), **CLOSE)


@pytest.mark.parametrize(
    ("formula", "expected", "worst"),
    [
        ("cosine", [-0.5, 0.25], -1),
        ("ncs", [0.25, 0.625], 0),
        ("clipscore", [0, 0.625], 0),
        ("hundred", [-50, 25], -100),
        ("logit", [-7.1424, 3.5712], -14.2848),
    ],
)
def test_formulas(formula, expected, worst, clip, items):
    bound = Similarity(clip, None, formula, "test").bind(items, Networks("test", None))
    cosines = np.array([[[-0.5], [0.25]]], np.float32)
    np.testing.assert_allclose(bound.results(cosines, np.arange(2))[0], expected, rtol=1e-3)
    assert bound.worst == pytest.approx(worst, rel=1e-3)
    assert formula in FORMULAS


def test_a_long_prompt_is_cut_and_said_once(clip, items):
    long = items[0]._replace(prompt="red " * 30)
    bound = Similarity(clip, None, "cosine", "test").bind([long, *items], Networks("test", None))
    with pytest.warns(UserWarning, match="reads 12 tokens; the ends of 1 texts are cut off"):
        bound.fields  # noqa: B018


def test_similarity_to_references_is_that_of_torch(clip, drawn, items):
    score = Similarity(clip, "image", "ncs", "test")
    score.check(records(items))
    bound = score.bind(items, Networks("test", None))
    folder = Path(items[0].record.path).parent
    shown = [Image.fromarray(one) for one in drawn[1]]
    for number in range(3):
        with Image.open(folder / f"{number}.png") as picture:
            shown.append(picture.copy())
    seen, _ = of_torch(clip, shown, PROMPTS[:1])
    expected = (1 + (seen[:3] * seen[3:]).sum(-1)) / 2
    np.testing.assert_allclose(judged(bound, drawn)[1][1], expected, **CLOSE)
    assert bound.record(np.zeros(1), 2) == {"reference": "2.png"}


def test_features_are_kept_on_disk(clip, items, tmp_path, monkeypatch):
    first = Similarity(clip, "image", "ncs", "test").bind(items, Networks("t", str(tmp_path)))
    expected = first.fields[0]
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr("evojax_merge.fitness.drawing.network._in_groups", None)
    again = Similarity(clip, "image", "ncs", "test").bind(items, Networks("t", str(tmp_path)))
    assert np.array_equal(again.fields[0], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": ["0.png", "1.png"]}, "line 1: field 'image' names 2 pictures"),
        ({"image": "../other.png"}, "line 1.*outside of the data's directory"),
        ({"image": "9.png"}, "line 1.*no such file"),
        ({"image": "cut.png"}, "line 1: cut.png cannot be read as a picture"),
    ],
)
def test_references_that_cannot_be_compared(change, message, clip, items):
    record = items[0].record
    folder = Path(record.path).parent
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    wrong = record._replace(fields={**record.fields, **change})
    with pytest.raises(DataError, match=message):
        Similarity(clip, "image", "ncs", "test").check({"search": [wrong]})


def head_of(path, sizes=(20, 7, 4, 1), **changes):
    rng = np.random.default_rng(9)
    tensors = {}
    for number, (width, out) in enumerate(itertools.pairwise(sizes)):
        # The published file numbers layers with those of dropout between them.
        tensors[f"layers.{2 * number}.weight"] = rng.standard_normal((out, width)).astype("f4")
        tensors[f"layers.{2 * number}.bias"] = rng.standard_normal(out).astype("f4")
    save_file({**tensors, **changes}, path)
    return str(path)


@pytest.mark.slow
def test_an_aesthetic_head_is_one_affine_map(clip, drawn, items, tmp_path):
    head = head_of(tmp_path / "head.safetensors")
    bound = Aesthetic(clip, head, "test").bind(items, Networks("test", None))
    seen, _ = of_torch(clip, [Image.fromarray(one) for one in drawn[0]], PROMPTS[:1])
    rng = np.random.default_rng(9)
    for width, out in ((20, 7), (7, 4), (4, 1)):
        weight, bias = rng.standard_normal((out, width)), rng.standard_normal(out)
        seen = seen @ weight.T + bias
    np.testing.assert_allclose(judged(bound, drawn)[1][0], seen[:, 0], atol=0.3)
    params = bound.params
    ends = params.bias - jnp.linalg.norm(params.weight)
    assert bound.worst == pytest.approx(float(ends), rel=1e-5)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "holds no affine maps"),
        ({"layers.0.bias": np.zeros(1, "f4")}, "one without its weight"),
        ({"0.weight": np.zeros((3, 2), "f4")}, "gives 3 numbers"),
        ({"a.0.weight": np.zeros((3, 2), "f4"), "a.1.weight": np.zeros((1, 4), "f4")}, "map 1"),
        ({"0.weight": np.full((1, 2), np.nan, "f4")}, "not finite"),
        ({"0.running_mean": np.zeros(3, "f4")}, "is no part of a head"),
        ({"0.weight": np.zeros(3, "f4")}, "is no part of a head"),
    ],
)
def test_files_that_are_no_aesthetic_head(tensors, message, tmp_path):
    save_file(tensors, tmp_path / "head.safetensors")
    with pytest.raises(DataError, match=message):
        read_affine(str(tmp_path / "head.safetensors"))


def test_a_pickle_is_not_opened(tmp_path, clip, items):
    (tmp_path / "head.pth").write_bytes(b"")
    with pytest.raises(DataError, match="can run code as it is read, so convert it once"):
        read_affine(str(tmp_path / "head.pth"))
    with pytest.raises(ValueError, match="needs the head"):
        Aesthetic(clip, None, "test")
    head = head_of(tmp_path / "head.safetensors", (19, 1))
    with pytest.raises(ValueError, match=r"reads 19 features, and .* gives 20"):
        Aesthetic(clip, head, "test").bind(items, Networks("test", None))


@pytest.mark.slow
def test_classes_in_words_are_told_apart_as_by_torch(clip, drawn, items):
    score = Labels(clip, "label", None, ("a photo of a {}.", "{}"), None, "test")
    score.check(records(items))
    bound = score.bind(items, Networks("test", None))
    prompts = [t.replace("{}", n) for n in ("blue", "red") for t in ("a photo of a {} .", "{}")]
    flat = [Image.fromarray(one) for one in drawn.reshape(-1, *drawn.shape[2:])]
    seen, read = of_torch(clip, flat, prompts)
    classes = read.reshape(2, 2, -1).mean(1)
    classes /= np.linalg.norm(classes, axis=-1, keepdims=True)
    right = (seen @ classes.T).argmax(-1).reshape(2, 3) == np.array([1, 0, 1])
    assert np.array_equal(judged(bound, drawn)[1], right)
    assert bound.record(np.array([1.0]), 1) == {"answer": "red", "reference": "blue"}


def test_classes_by_a_head(clip, drawn, items, tmp_path):
    head = str(tmp_path / "head.safetensors")
    save_file({"weight": np.zeros((2, 20), "f4"), "bias": np.array([0, 1], "f4")}, head)
    score = Labels(clip, "label", None, ("{}",), head, "test")
    score.check(records(items))
    bound = score.bind(items, Networks("test", None))
    assert np.array_equal(judged(bound, drawn)[1], [[1, 0, 1], [1, 0, 1]])
    with pytest.raises(DataError, match="the head has 2 classes, and the data has 3"):
        Labels(clip, "label", ["red", "blue", "green"], ("{}",), head, "t").check(records(items))
    with pytest.raises(DataError, match="label 'red' is none of the 1 classes blue"):
        Labels(clip, "label", ["blue"], ("{}",), None, "t").check(records(items))


def test_the_frechet_distance_is_that_of_its_formula():
    rng = np.random.default_rng(10)
    one, other = rng.standard_normal((9, 5)) * 2 + 1, rng.standard_normal((30, 5))
    first, second = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(one, Moments.of(other)) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(other, Moments.of(other)) == pytest.approx(0, abs=1e-8)
    few = rng.standard_normal((3, 5))  # covariances without an inverse
    assert frechet_distance(few, Moments.of(few)) == pytest.approx(0, abs=1e-6)
    assert np.isnan(frechet_distance(np.full((3, 5), np.nan), Moments.of(few)))


def test_fid_compares_with_a_folder(clip, drawn, items, tmp_path):
    for number, one in enumerate(drawn[0]):
        Image.fromarray(one).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    bound = Frechet(clip, str(tmp_path), "test").bind(items, Networks("test", None))
    _, results = judged(bound, drawn)
    assert results.shape == (2, 1)
    assert -0.05 < results[0, 0] <= 1e-6  # the same pictures, resized by Pillow
    assert results[1, 0] < -0.3
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds 0 pictures"):
        Frechet(clip, str(tmp_path / "empty"), "test")
    with pytest.raises(ValueError, match=r"fitness\.references"):
        Frechet(clip, None, "test")


def redness(prompts, pictures):
    """A score of one's own."""
    assert pictures.dtype == np.uint8
    assert len(prompts) == len(pictures)
    return pictures[..., 0].mean(axis=(1, 2)) * ["red" in prompt for prompt in prompts]


def too_few(prompts, pictures):
    return [1.0]


def test_a_function_of_ones_own(drawn, items):
    bound = OwnFunction(f"{__name__}.redness", -5, "t").bind(items, Networks("t", None))
    pictures = drawn.copy()
    pictures[1, 0] = 0
    results = bound.results(pictures, np.arange(3))
    expected = drawn[..., 0].mean(axis=(2, 3)) * [1, 0, 1]
    expected[1, 0] = -5
    np.testing.assert_allclose(results, expected)
    np.testing.assert_allclose(bound.results(pictures[:, 1:], np.arange(1, 3)), expected[:, 1:])
    bound = OwnFunction(f"{__name__}.too_few", 0, "t").bind(items, Networks("t", None))
    with pytest.raises(ValueError, match=r"too_few: gives float64 \[1\] for 3 pictures"):
        bound.results(drawn, np.arange(3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("redness", "give FILE.py:FUNCTION, or MODULE:FUNCTION"),
        (".redness", "give FILE.py:FUNCTION, or MODULE:FUNCTION"),
        ("no_such_module.score", "there is no module no_such_module"),
        (f"{__name__}.no_such_score", "has no no_such_score"),
        (f"{__name__}.PROMPTS", "give a function"),
    ],
)
def test_functions_that_cannot_be_called(name, message):
    with pytest.raises(ValueError, match=message):
        OwnFunction(name, 0, "test")


def test_flaws_are_told(clip, items):
    bound = Similarity(clip, None, "cosine", "test").bind(items, Networks("test", None))
    judge, networks = judge_of([bound])
    pictures = np.full((3, 3, 32, 40), 0.5, np.float32)
    pictures[1] = 0
    pictures[2, 0, 4, 4] = np.nan
    params = (tuple(one.params for one in networks), ((),))
    flaws = np.asarray(jax.jit(judge)(params, pictures, *bound.fields))[:, 0]
    assert flaws.tolist() == [SOUND, BLACK, NOT_FINITE]


def test_networks_that_cannot_judge(clip, items, tmp_path):
    write_clip(tmp_path / "text", tower_config("text"))
    write_reading_files(tmp_path / "text")
    with pytest.raises(ValueError, match="cannot look at pictures"):
        Networks("test", None)(str(tmp_path / "text"))
    write_clip(tmp_path / "vision", tower_config("vision"))
    write_reading_files(tmp_path / "vision")
    network = Networks("test", None)(str(tmp_path / "vision"))
    with pytest.raises(ValueError, match="has no text tower"):
        Similarity(str(tmp_path / "vision"), None, "cosine", "t").bind(items, Networks("t", None))
    CLIPImageProcessorPil(size={"shortest_edge": 16}, do_center_crop=False).save_pretrained(
        tmp_path / "vision"
    )
    network = Networks("test", None)(str(tmp_path / "vision"))
    with pytest.raises(ValueError, match=r"makes pictures of 16 × 20 pixels, .* reads 16 × 16"):
        network.check_size(32, 40)


def test_a_scorer_may_have_its_processor_elsewhere(clip, items, tmp_path):
    write_clip(tmp_path / "bare", clip_config(), seed=5)
    bare = str(tmp_path / "bare")
    with pytest.raises(CheckpointError, match=r"fitness\.processor"):
        Networks("test", None)(bare)
    score = Similarity(bare, None, "cosine", "test")
    ours = score.bind(items, Networks("test", None, clip)).fields[0]
    theirs = Similarity(clip, None, "cosine", "test").bind(items, Networks("t", None)).fields[0]
    np.testing.assert_array_equal(ours, theirs)


def test_networks_are_opened_once_and_looked_with_once(clip, items):
    networks = Networks("test", None)
    bound = [
        Similarity(clip, image, "cosine", "t").bind(items, networks) for image in (None, "image")
    ]
    judge, used = judge_of(bound)
    assert len(judge.looks) == len(used) == 1
    assert [number for number, _ in judge.readers] == [0, 0]
    assert hash(judge) == hash(judge_of(bound)[0])
