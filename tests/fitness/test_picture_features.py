"""Features of pictures are computed once, kept, and found again by what they were made of."""

import dataclasses
import shutil

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from evojax_merge.checkpoints import load, load_config
from evojax_merge.fitness import picture_features
from evojax_merge.fitness.picture_features import CarriedEyes
from evojax_merge.models.llava.modeling import features
from evojax_merge.models.request import Pixels
from tests.llava_factory import llava_config, write_llava

PIXELS = Pixels(np.full(3, 0.01, np.float32), np.array([-1, -1.1, -0.9], np.float32))


@pytest.fixture(scope="module")
def carrier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "llava_next"
    write_llava(folder, llava_config("llava_next"))
    return folder


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, (count, 3, 16, 16), np.uint8),) for count in (3, 1, 5)]


@pytest.fixture
def computed(monkeypatch):
    """How many pictures were computed at each call."""
    calls, compute = [], CarriedEyes._computed

    def counted(self, params, pictures):
        calls.append(len(pictures))
        return compute(self, params, pictures) if pictures else iter(())

    monkeypatch.setattr(CarriedEyes, "_computed", counted)
    return calls


def eyes(carrier, directory=None, pixels=PIXELS):
    return CarriedEyes(load_config(carrier), pixels, directory)


@pytest.mark.slow
def test_features_are_those_of_the_model_whatever_is_computed_at_a_time(
    carrier, pictures, monkeypatch
):
    model = load(carrier)
    monkeypatch.setattr(picture_features, "TILES", 4)
    found, newline = eyes(carrier)(pictures)
    for (tiles,), one in zip(pictures, found, strict=True):
        expected = features(model.config, model.params, jnp.asarray(tiles), PIXELS)
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(newline, model.params["projector"]["image_newline"])


def test_what_is_known_is_not_computed_again(carrier, pictures, computed, tmp_path):
    first, _ = eyes(carrier, tmp_path)(pictures[:2])
    second, _ = eyes(carrier, tmp_path)(pictures[::-1])
    third, _ = eyes(carrier, tmp_path)(pictures)
    assert computed == [2, 1, 0]
    assert len(list(tmp_path.iterdir())) == 3
    assert all(np.array_equal(a, b) for a, b in zip(first, second[:0:-1], strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(second[::-1], third, strict=True))


def test_other_weights_and_other_settings_are_other_features(carrier, pictures, computed, tmp_path):
    cache = tmp_path / "cache"
    eyes(carrier, cache)(pictures)
    eyes(carrier, cache, PIXELS._replace(shift=np.zeros(3, np.float32)))(pictures)
    other = shutil.copytree(carrier, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    for name, changed in (("lm_head.weight", 0), ("multi_modal_projector.linear_1.bias", 3)):
        (own,) = [one for one in tensors if one.endswith(name)]
        tensors[own] = tensors[own] + 1
        save_file(tensors, other / "model.safetensors", {"format": "pt"})
        eyes(other, cache)(pictures)
        assert computed[-1] == changed
    assert computed[:2] == [3, 3]


def test_a_damaged_entry_is_computed_again(carrier, pictures, computed, tmp_path):
    first, _ = eyes(carrier, tmp_path)(pictures)
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.warns(RuntimeWarning, match="features of pictures cannot be read .*again"):
        second, _ = eyes(carrier, tmp_path)(pictures)
    assert computed == [3, 1]
    for one, other in zip(first, second, strict=True):  # computed beside fewer others
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_narrow_numbers_are_kept_as_they_are(carrier, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(
        picture_features,
        "load",
        lambda part: load(dataclasses.replace(part), dtype=ml_dtypes.bfloat16),
    )
    first, _ = eyes(carrier, tmp_path)(pictures)
    second, newline = eyes(carrier, tmp_path)(pictures)
    assert {one.dtype for one in (*first, *second, newline)} == {np.dtype(ml_dtypes.bfloat16)}
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
