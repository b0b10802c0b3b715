"""Examples in Python, YAML and JSON do what the documentation says."""

import ast
import json

import pytest

import evojax_merge as em
from evojax_merge.cli import main
from evojax_merge.config import build, compose
from tests.documentation.pages import ROOT, blocks
from tests.documentation.workspace import furnish

PYTHON_PAGES = sorted({b.page for b in blocks("python") if b.title is None})


def run_page(page: str) -> dict:
    """Run the blocks of a page one after the other, with the names that each leaves."""
    names: dict = {}
    for block in blocks("python", page):
        exec(compile(block.text, page, "exec"), names)
    return names


def test_no_page_is_left_out():
    assert PYTHON_PAGES == [
        "README.md",
        "docs/following.md",
        "docs/how-to/family.md",
        "docs/how-to/measure.md",
        "docs/python.md",
    ]


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_what_examples_call_exists(page):
    nodes = [node for block in blocks("python", page) for node in ast.walk(ast.parse(block.text))]
    used = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "em"
    }
    assert {"evolve", "merge", "export"} <= used <= set(em.__all__)
    (overrides,) = [
        ast.literal_eval(node.args[0])
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "em.evolve"
    ]
    build(compose(overrides))


@pytest.mark.slow
def test_the_example_of_following_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_page("docs/following.md")
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [words[:2] for words in told] == [["evolved", "1"], ["evolved", "2"]] + [
        ["random_search", number] for number in ("1", "2")
    ]


@pytest.mark.slow
def test_the_example_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_page("README.md")
    assert names["run"].result.split == "test"
    assert (tmp_path / "merged" / "model.safetensors").exists()


@pytest.mark.slow
def test_the_examples_of_the_python_page(tmp_path, monkeypatch):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    names = run_page("docs/python.md")
    assert names["measured"].result.score == names["run"].result.score
    assert set(names["merged"]) == set(names["base"].params)


def test_the_family_of_the_page(capsys):
    names = run_page("docs/how-to/family.md")
    assert list(names["tiny"].slots) == [
        "model.embed.weight",
        "model.layers.0.mlp.weight",
        "model.layers.1.mlp.weight",
        "model.norm.weight",
    ]
    assert "needs a model that can generate text" in capsys.readouterr().out


def test_the_merge_in_mergekits_words(tmp_path, monkeypatch):
    monkeypatch.chdir(furnish(tmp_path))
    (block,) = blocks("yaml", "docs/mergekit.md")
    (tmp_path / "merge.yml").write_text(block.text)
    main(["apply", "merge.yml", "--out", "DIR", "--strict"])
    assert em.load(tmp_path / "DIR").config.num_layers == 4


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.page)
def test_items_are_json(block):
    assert all(isinstance(json.loads(line), dict) for line in block.text.splitlines())
