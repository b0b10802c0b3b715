"""Pictures are prepared exactly as transformers' processors without torch do it."""

import json

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from evojax_merge.checkpoints.errors import CheckpointError
from evojax_merge.fitness import DataError
from evojax_merge.fitness.pictures import Picture, PictureProcessor

SIDE = 12
SHAPE = (3, SIDE, SIDE)
SQUARE = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
GRIDS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE], [3 * SIDE, SIDE]]
PROCESSORS = {
    "clip": CLIPImageProcessorPil(**SQUARE),
    "llava": LlavaImageProcessorPil(**SQUARE),
    "llava_padded": LlavaImageProcessorPil(**SQUARE, do_pad=True),
    "llava_next": LlavaNextImageProcessorPil(**SQUARE, image_grid_pinpoints=GRIDS),
    "siglip": SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}),
}
SIZES = [(1, 1), (SIDE, SIDE), (97, 3), (3, 97), (30, 40), (2, 1), (25, 24)]
MODES = ["RGB", "L", "RGBA", "LA", "CMYK", "P", "1", "I;16", "I", "F", "YCbCr"]
SAVED = {"RGBA": "webp", "CMYK": "tiff", "YCbCr": "jpeg", "F": "tiff", "LA": "png", "I": "tiff"}


def noise(size, mode="RGB"):
    """A picture of a width and height in a mode of Pillow."""
    rng = np.random.default_rng(sum(size))
    width, height = size
    if mode in ("I;16", "I", "F"):
        levels = rng.integers(0, 2**16, (height, width))
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(levels.astype(dtype))
    picture = Image.fromarray(rng.integers(0, 256, (height, width, 4), np.uint8), "RGBA")
    return picture if mode == "RGBA" else picture.convert("RGB").convert(mode)


def written(folder, processor, settings=None):
    """The settings of a processor in a directory, and this package's processor of it."""
    folder.mkdir(exist_ok=True)
    settings = processor.to_dict() if settings is None else settings
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processors")
    for name, processor in PROCESSORS.items():
        written(folder / name, processor)
    return folder


def floats(ours, pixels):
    scale, shift = (one[:, None, None] for one in ours.pixels)
    return scale * pixels + shift


def compare(ours, theirs, image, path=None):
    """Check the whole numbers exactly, and the floats that the model reads."""
    (found,) = ours.views([Picture("a place", "a name", path or image)])
    whole = np.asarray(theirs(image, do_rescale=False, do_normalize=False)["pixel_values"])
    np.testing.assert_array_equal(found.pixels, whole.reshape(found.pixels.shape))
    real = np.asarray(theirs(image)["pixel_values"]).reshape(found.pixels.shape)
    np.testing.assert_allclose(floats(ours, found.pixels), real, atol=2e-6)
    assert found.size == (image.height, image.width)
    return found


@pytest.mark.parametrize("name", PROCESSORS)
def test_sizes(folder, name):
    ours = PictureProcessor(folder / name, "task")
    for size in SIZES:
        found = compare(ours, PROCESSORS[name], noise(size))
        assert (len(found.pixels) > 1) == (name == "llava_next")
        assert found.pixels.dtype == np.uint8


@pytest.mark.parametrize("mode", MODES)
def test_modes(folder, tmp_path, mode):
    picture = noise((30, 20), mode)
    path = tmp_path / f"picture.{SAVED.get(mode, 'png')}"
    picture.save(path)
    with Image.open(path) as image:
        image.load()
    for name in ("llava", "llava_next"):
        compare(PictureProcessor(folder / name, "task"), PROCESSORS[name], image, path)


def test_a_palette_with_a_transparent_colour_is_laid_on_white(folder, tmp_path):
    picture = noise((30, 20), "P")
    picture.save(tmp_path / "picture.png", transparency=3)
    with Image.open(tmp_path / "picture.png") as image:
        image.load()
    assert "transparency" in image.info
    ours = PictureProcessor(folder / "llava", "task")
    compare(ours, PROCESSORS["llava"], image, tmp_path / "picture.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_transformers_loads_them(folder, tmp_path, orientation):
    from transformers.image_utils import load_image

    exif = Image.Exif()
    exif[0x0112] = orientation
    noise((30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    upright = load_image(str(tmp_path / "turned.jpg"))
    ours = PictureProcessor(folder / "llava_next", "task")
    compare(ours, PROCESSORS["llava_next"], upright, tmp_path / "turned.jpg")


def test_one_view_is_that_of_llava_one_and_a_half(folder):
    ours = PictureProcessor(folder / "llava_next", "task", one_view=True)
    assert ours.grids is None
    assert PictureProcessor(folder / "llava_next", "task").grids == GRIDS
    for size in SIZES:
        assert len(compare(ours, PROCESSORS["llava"], noise(size)).pixels) == 1


def test_settings_in_the_file_of_the_whole_processor_come_first(folder, tmp_path):
    written(tmp_path, PROCESSORS["clip"])
    nested = {"image_processor": PROCESSORS["llava_next"].to_dict(), "patch_size": 3}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    assert PictureProcessor(tmp_path, "task").grids == GRIDS
    (tmp_path / "processor_config.json").write_text(json.dumps({"patch_size": 3}))
    assert PictureProcessor(tmp_path, "task").grids is None


def test_tiles_where_whole_pictures_are_wanted(folder):
    ours = PictureProcessor(folder / "llava_next", "task")
    with pytest.raises(CheckpointError, match="cuts pictures into tiles"):
        ours([Picture("a place", "a name", noise((3, 3)))], SHAPE)
    with pytest.raises(CheckpointError, match=r"makes pictures of \(3, 12, 12\).*\(3, 14, 14\)"):
        PictureProcessor(folder / "llava", "task")([Picture("a", "b", noise((3, 3)))], (3, 14, 14))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_processor_type": "SamImageProcessor"}, "SamImageProcessor.*supported are CLIPIm"),
        ({"image_processor_type": 3}, "is of a 3; supported are"),
        ({"image_std": [0, 0, 0]}, "is damaged"),
        ({"size": "large"}, "is damaged|size"),
    ],
)
def test_settings_that_make_no_sense(tmp_path, settings, message):
    directory = written(tmp_path / "model", None, settings)
    with pytest.raises(CheckpointError, match=message):
        PictureProcessor(directory, "task")


def test_no_settings(tmp_path):
    with pytest.raises(CheckpointError, match=r"task: .* has no preprocessor_config\.json"):
        PictureProcessor(tmp_path, "task")


def test_pictures_that_cannot_be_read(folder, tmp_path, monkeypatch):
    ours = PictureProcessor(folder / "llava", "task")
    good, cut, text = tmp_path / "good.png", tmp_path / "cut.png", tmp_path / "text.png"
    noise((40, 40)).save(good)
    cut.write_bytes(good.read_bytes()[:900])
    text.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    for path, reason in [(cut, "truncated"), (text, "none of PNG"), (folder, "regular file")]:
        picture = Picture("items.jsonl, line 2", "x.png", path)
        message = rf"^items\.jsonl, line 2: x\.png cannot be read as a picture .*{reason}"
        with pytest.raises(DataError, match=message):
            ours.views([picture])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(DataError, match=r"line 2: x\.png .*decompression bomb"):
        ours.views([Picture("items.jsonl, line 2", "x.png", good)])


@pytest.mark.parametrize(("name", "side"), [("clip", 2**22), ("llava_padded", 2**15)])
def test_a_strip_that_would_be_enlarged_beyond_memory(folder, tmp_path, name, side):
    path = tmp_path / "strip.png"
    Image.new("1", (side, 1)).save(path)
    picture = Picture("items.jsonl, line 2", "strip.png", path)
    with pytest.raises(DataError, match=r"line 2: strip\.png of \d+ × 1 pixels would be enlarged"):
        PictureProcessor(folder / name, "task").views([picture])


@pytest.mark.parametrize("name", ["llava_next", "siglip"])
def test_a_strip_that_is_not_enlarged(folder, name):
    (views,) = PictureProcessor(folder / name, "task").views([Picture("a", "b", noise((2**15, 1)))])
    assert views.pixels.shape[1:] == SHAPE


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_size": {"height": 2**15, "width": 2**15}},
        {"image_processor_type": "SiglipImageProcessor", "size": {"height": 2**30, "width": 1}},
        {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": [[2**15] * 2]},
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "size": {"shortest_edge": 2**40, "longest_edge": 2**41},
        },
    ],
)
def test_settings_that_enlarge_pictures_beyond_memory(tmp_path, settings):
    processor = PictureProcessor(written(tmp_path / "model", None, settings), "task")
    with pytest.raises(DataError, match="would be enlarged to"):
        processor.views([Picture("a place", "a name", noise((3, 3)))])


@pytest.mark.parametrize("grids", [[], [[3]]])
def test_grids_that_make_no_sense(tmp_path, grids):
    settings = {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": grids}
    processor = PictureProcessor(written(tmp_path / "model", None, settings), "task")
    with pytest.raises(DataError, match="a place: a name cannot be prepared as"):
        processor.views([Picture("a place", "a name", noise((3, 3)))])
