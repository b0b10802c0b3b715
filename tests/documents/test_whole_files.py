"""Files that are whole or not there, and errors that name them."""

import errno
import os

import pytest

from evojax_merge.documents.files import naming, remove_partial, write_text, write_whole


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    def die(partial):
        partial.write_text("half")
        left.append(partial.name)
        os.link(partial, tmp_path / "kept")

    left: list[str] = []
    write_whole(tmp_path / "history.jsonl", die)
    os.link(tmp_path / "kept", tmp_path / left[0])  # as if it had ended there
    others = [".hidden", ".config.yaml", "history.jsonl.1.2", ".v1.2"]
    for name in others:
        (tmp_path / name).write_text("of somebody")
    remove_partial(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*others, "kept", "history.jsonl"}


def test_an_error_names_the_file_unless_it_does(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*/mine'"),
        naming(tmp_path / "mine"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError, match="absent"), naming(tmp_path / "mine"):
        (tmp_path / "absent").open()
    with pytest.raises(OSError, match=r"^in words$"), naming(tmp_path / "mine"):
        raise OSError("in words")


def test_a_text_is_written_whole_or_the_error_names_the_file(tmp_path):
    write_text(tmp_path / "folder" / "notes.txt", "こたえ\n")
    assert (tmp_path / "folder" / "notes.txt").read_text(encoding="utf-8") == "こたえ\n"
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken", "text")
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "taken"}
