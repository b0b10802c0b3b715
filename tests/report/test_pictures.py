"""Pictures of methods as files and side by side."""

import numpy as np
import pytest
from PIL import Image

from evojax_merge.fitness.drawing.showing import Drawn
from evojax_merge.report.pictures import folder_of, plot_gallery, save_pictures


def drawn(count=2):
    rng = np.random.default_rng(0)
    records = [{"prompt": "赤い猫", "seed": 7, "drawing": {"steps": 4}}, {"prompt": "a $x^2$"}]
    return [Drawn(rng.integers(0, 256, (8, 6, 3), np.uint8), one) for one in records[:count]]


def test_pictures_are_kept_to_the_bit_with_what_they_were_drawn_by(tmp_path):
    pictures = drawn()
    files = save_pictures(pictures, tmp_path / "images", {"recipe": "a: 1\nb: ü"})
    assert [file.name for file in files] == ["000.png", "001.png"]
    for file, one in zip(files, pictures, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), one.pixels)
    assert Image.open(files[0]).text == {
        "prompt": "赤い猫",
        "seed": "7",
        "drawing": '{"steps": 4}',
        "recipe": "a: 1\nb: ü",
    }


@pytest.mark.parametrize(
    ("name", "folder"),
    [("m1", "m1"), ("a/b", "a_b"), ("..", "_"), ("front 0", "front_0"), ("", "_")],
)
def test_folders_of_methods(name, folder):
    assert folder_of(name) == folder


def test_a_gallery_has_a_row_for_each_method(tmp_path):
    plot_gallery({"one": drawn()}, tmp_path / "one.png")
    plot_gallery({"one": drawn(), "an $other$": drawn(), "x" * 50: drawn()}, tmp_path / "more.png")
    one, more = (Image.open(tmp_path / f"{name}.png").size for name in ("one", "more"))
    assert more[1] > 2 * one[1]
