"""What is said in a block is kept, with its warnings and the error that ends it."""

import re
import warnings

import pytest
from rich.console import Console
from rich.table import Table

from evojax_merge.documents.log import keeping_log
from evojax_merge.documents.terminal import cell, say, show

QUIET = Console(quiet=True)


def test_a_log_has_what_was_said_though_nothing_was_shown(tmp_path):
    table = Table(title=cell("scores"))
    table.add_column(cell("method"))
    table.add_row(cell("ties"))
    say(QUIET, "before")
    with keeping_log(tmp_path / "run.log"):
        say(QUIET, "a \x1b[31mname")
        show(QUIET, table)
        with pytest.warns(UserWarning, match="look out"):  # others hear of it all the same
            warnings.warn("look out", stacklevel=1)
    say(QUIET, "after")
    text = (tmp_path / "run.log").read_text()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  a \\x1b\[31mname\n", text)
    assert "│ ties" in text
    assert "before" not in text
    assert "after" not in text


def test_a_log_is_added_to_and_has_warnings_and_errors(tmp_path, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", lambda *where, **more: None)
    with warnings.catch_warnings(), keeping_log(tmp_path / "run.log"):
        warnings.simplefilter("always")
        warnings.warn("look out", stacklevel=1)
    with pytest.raises(KeyError), keeping_log(tmp_path / "run.log"):
        raise KeyError("gone")
    text = (tmp_path / "run.log").read_text()
    assert "  warning: look out\n" in text
    assert "Traceback" in text
    assert "KeyError: 'gone'" in text
