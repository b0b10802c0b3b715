"""What strangers named is shown, and does nothing else."""

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from evojax_merge import cli
from evojax_merge.documents.terminal import cell, complain, printable, say, show_warning

PACKAGE = Path(__file__).parents[2] / "evojax_merge"

ACTING = [
    ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
    ("\x1b[31mred", r"\x1b[31mred"),
    ("back\bspace\r\x7f", r"back\x08space\r\x7f"),
    ("\x9b31m", r"\x9b31m"),
    ("\u202egnp.exe", r"\u202egnp.exe"),
    ("a\u2028b", r"a\u2028b"),
    ("\ud800", r"\ud800"),
]
HARMLESS = ["model.layers.0", "日本語", "é", "👩\u200d🔬", "line\n\ttab", "[bold]x[/z]", ":smile:"]


@pytest.mark.parametrize(("text", "shown"), ACTING)
def test_what_would_act_is_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_stays(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"), [*ACTING, *((text, text) for text in HARMLESS if "\n" not in text)]
)
def test_every_way_of_printing_shows_the_same(text, shown, capsys):
    out = io.StringIO()
    console = Console(file=out, width=200)
    table = Table(title=cell(text))
    table.add_column(cell(text))
    table.add_row(cell(text))
    console.print(table)
    say(console, text)
    say(console, text, label="label")
    show_warning(console, text)
    complain(text)
    assert out.getvalue().count(shown) == 6
    assert shown in capsys.readouterr().err
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_nothing_is_printed_in_another_way(path):
    """Only tables are printed by rich itself, and their texts are constants or made by `cell`."""
    if path.name in ("terminal.py", "cli.py"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), [ast.unparse(part) for part in node.args]
        where = f"{path.name}, line {node.lineno}: {ast.unparse(node)}"
        assert called != "print", where
        if called.endswith("console.print"):
            assert "table" in given[0].partition("(")[0], where
        if called.endswith(("add_row", "add_column")):
            assert all("cell" in one or one[0] == "'" for one in given), where
        if called == "Table":
            titles = [ast.unparse(word.value) for word in node.keywords if word.arg == "title"]
            assert all(one.startswith(("cell(", "'")) for one in titles), where
        assert path.name == "terminal.py" or not called.endswith("ArgumentParser"), where


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "model", "--\x1b]0;title\x07"],
        ["apply", "recipe.yaml", "\x1b]0;title\x07", "--out", "out"],
        ["convert", "recipe.yaml", "--\x1b]0;title\x07", "--out", "out.yml"],
        ["resume", "run", "--\x1b]0;title\x07"],
        ["evolve", "--\x1b]0;title\x07"],
        ["evolve", "\x1b]0;title\x07", "seed=1"],
        ["evolve", "--cfg", "job", "name=\x1b]0;title\x07"],
        ["evolve", "--cfg", "job", "--package", "\x1b]0;title\x07"],
    ],
)
def test_arguments_that_cannot_be_are_shown(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    said = "".join(capsys.readouterr())
    assert r"\x1b]0;title\x07" in said
    assert "\x1b" not in said
    assert "Traceback" not in said
