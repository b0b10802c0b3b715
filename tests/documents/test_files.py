"""Files that are none, or no text."""

import os

import pytest

from evojax_merge.documents.errors import DocumentError, named, shown
from evojax_merge.documents.files import at_home, read_text


def test_what_is_read_is_a_regular_file_of_text(tmp_path):
    (tmp_path / "text").write_text("数", encoding="utf-8")
    assert read_text(tmp_path / "text") == "数"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"a\xff")
    for name, message in {
        "pipe": "no regular file",
        ".": "no regular file",
        "none": "missing",
        "text/none": "missing",
        "a\0b": "no path",
        "binary": "not UTF-8 .*byte 1",
    }.items():
        with pytest.raises(DocumentError, match=message):
            read_text(tmp_path / name)
    with pytest.raises(DocumentError, match="no regular file"):
        read_text(type(tmp_path)("/dev/zero"))
    with pytest.raises(DocumentError, match="is larger than"):
        read_text(tmp_path / "text", most=2)


def test_homes():
    assert at_home("~/x").is_absolute()
    for path, message in {"~nobody_of_this_name/x": "not known here", "a\0b": "zero byte"}.items():
        with pytest.raises(DocumentError, match=message):
            at_home(path)


def test_what_somebody_wrote_is_escaped_and_cut():
    assert shown("\x1b]0;x\x07") == r"'\x1b]0;x\x07'"
    assert len(shown("x" * 10**6)) < 80
    assert shown(10**10_000) == "a number of 33220 bits"
    assert shown(list(range(1_000))) == "a list of 1000 entries"
    assert named("layers.0") == "layers.0"
    assert named("a\nb") == r"'a\nb'"
