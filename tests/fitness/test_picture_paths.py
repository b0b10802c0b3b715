"""Pictures lie within the directory of their file, or in the cache of the hub."""

import pytest

from evojax_merge.fitness import DataError
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.picture_paths import pictures_of
from tests.llava_factory import picture


def record(folder, **fields):
    return Record(str(folder / "items.jsonl"), 1, fields)


def test_a_data_set_in_the_cache_of_the_hub_has_links_to_blobs(tmp_path):
    folder = tmp_path / "datasets--a--b" / "snapshots" / "0a1b"
    blobs = tmp_path / "datasets--a--b" / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    picture((4, 4)).save(blobs / "ff.png")
    (folder / "1.png").symlink_to("../../blobs/ff.png")
    (found,) = pictures_of(record(folder, image="1.png"), "image")
    assert (found.name, found.source) == ("1.png", (blobs / "ff.png").resolve())
    picture((4, 4)).save(tmp_path / "other.png")
    (folder / "2.png").symlink_to(tmp_path / "other.png")
    with pytest.raises(DataError, match=r"picture '2.png' is outside of the data's directory"):
        pictures_of(record(folder, image="2.png"), "image")


@pytest.mark.parametrize("name", ["/etc/hostname", "~/a.png", "a/../../b.png", "a\0b", "x" * 5000])
def test_paths_that_lead_elsewhere(name, tmp_path):
    with pytest.raises(DataError, match=r"items.jsonl, line 1: picture") as caught:
        pictures_of(record(tmp_path, image=name), "image")
    assert len(str(caught.value)) < 400


def test_links_in_a_circle(tmp_path):
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    with pytest.raises(DataError, match=r"items.jsonl, line 1: picture 'a.png'"):
        pictures_of(record(tmp_path, image="a.png"), "image")


def test_a_folder_is_no_picture(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(DataError, match=r"picture 'a.png': is no regular file"):
        pictures_of(record(tmp_path, image="a.png"), "image")
