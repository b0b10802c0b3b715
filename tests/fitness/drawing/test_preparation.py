"""Pictures are prepared on the device as Pillow prepares those that are read from files."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.fitness.drawing.preparation import FILTERS, Preparation, filter_matrix, resized

# Pillow rounds to a whole number of 255ths after each of two passes, with weights of 22 bits.
TOLERANCE = 1.5 / 255


def noise(height, width):
    rng = np.random.default_rng(height * width)
    rough = rng.integers(0, 256, (height, width, 3), np.uint8)
    smooth = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((width, height))
    return np.where(np.arange(width)[None, :, None] < width // 2, rough, np.asarray(smooth))


def as_drawn(pixels):
    return jnp.asarray(pixels.transpose(2, 0, 1)[None] / np.float32(255))


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize(("before", "after"), [((48, 64), (16, 22)), ((9, 7), (20, 31))])
def test_resizing_is_that_of_pillow(resample, before, after):
    pixels = noise(*before).astype(np.uint8)
    filter_ = Image.Resampling[resample.upper()]
    expected = np.asarray(Image.fromarray(pixels).resize(after[::-1], filter_), np.float32) / 255
    found = np.asarray(resized(as_drawn(pixels), *after, resample))[0].transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    assert np.abs(found - expected).mean() < 0.5 / 255


def test_a_filter_keeps_what_is_even():
    for resample in FILTERS:
        np.testing.assert_allclose(filter_matrix(13, 5, resample).sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"size": {"height": 18, "width": 20}, "crop_size": {"height": 16, "width": 17}},
        {"do_center_crop": False, "size": {"height": 16, "width": 16}, "resample": 2},
        {"do_resize": False, "crop_size": {"height": 46, "width": 53}},
        {"do_rescale": False, "do_normalize": False},
    ],
)
@pytest.mark.parametrize("shape", [(40, 53), (45, 32)])
def test_pictures_are_prepared_as_by_the_processor(settings, shape, tmp_path):
    given = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}} | settings
    processor = CLIPImageProcessorPil(**given)
    processor.save_pretrained(tmp_path)
    pixels = noise(*shape).astype(np.uint8)
    expected = processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"]
    preparation = Preparation.read(tmp_path, "test")
    found = np.asarray(preparation(as_drawn(pixels)))
    assert found.shape[2:] == preparation.size(*shape)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * max(preparation.scale))


def test_other_filters_are_refused(tmp_path):
    CLIPImageProcessorPil(resample=0).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"preprocessor_config.*filters bilinear, bicubic"):
        Preparation.read(tmp_path, "test")
