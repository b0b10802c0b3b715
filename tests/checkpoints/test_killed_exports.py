"""What a killed export leaves beside its target, and where it goes."""

import pytest

from evojax_merge.checkpoints.target import recover


def left(folder):
    return {
        path.name: (path / "mark").read_text() if path.is_dir() else "" for path in folder.iterdir()
    }


def put(folder, name, mark):
    (folder / name).mkdir()
    (folder / name / "mark").write_text(mark)


@pytest.mark.parametrize(
    ("killed", "there"),
    [
        ({"export": "new"}, {"export": "new"}),
        ({".export-abcdefg0": "half"}, {}),
        ({"export": "old", ".export-abcdefg0": "new"}, {"export": "old"}),
        ({".export-old-abcdefg0": "old", ".export-abcdefg0": "new"}, {"export": "old"}),
        ({"export": "new", ".export-old-abcdefg0": "old"}, {"export": "new"}),
    ],
    ids=["nothing", "first", "before the swap", "amid the swap", "after the swap"],
)
def test_what_a_killed_export_left_is_cleared_away(tmp_path, killed, there):
    others = {".export-mine": "other", ".export2-abcdefg0": "other", "export-abcdefg0": "other"}
    for name, mark in (killed | others).items():
        put(tmp_path, name, mark)
    recover(tmp_path / "export")
    assert left(tmp_path) == there | others


def test_links_that_are_named_like_exports_are_not_followed(tmp_path):
    put(tmp_path, "mine", "mine")
    (tmp_path / ".export-abcdefg0").symlink_to("mine")
    recover(tmp_path / "export")
    assert (tmp_path / "mine" / "mark").exists()
