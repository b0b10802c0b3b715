"""A recipe as a small table."""

import dataclasses
import io

import numpy as np
from rich.console import Console

from evojax_merge.models.segments import Segment
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.recipes.path import Hop, PathRecipe
from evojax_merge.report.coefficients import recipe_tables
from evojax_merge.sources.reference import Ingredient


def recipe(segments: int, **coefficients) -> Recipe:
    return Recipe(
        operator="evojax_merge.operators.ties",
        arguments={},
        base=Ingredient("models/base"),
        sources=(Ingredient("models/math"), Ingredient("models/ja")),
        segments=tuple(Segment(f"s{number}", ("mlp",), 0, 0) for number in range(segments)),
        coefficients={name: np.asarray(value, np.float32) for name, value in coefficients.items()},
    )


def printed(one) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    for table in recipe_tables(one):
        console.print(table)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_few_coefficients_are_all_shown():
    lines = printed(recipe(2, weight=[[0.25, 0.5], [0.75, 1.0]], scale=[1.5, 2.0]))
    assert "┃ source ┃ weight, s0 ┃ weight, s1 ┃ scale, s0 ┃ scale, s1 ┃" in lines
    assert "│ math │ 0.25 │ 0.5 │ – │ – │" in lines
    assert "│ ja │ 0.75 │ 1 │ – │ – │" in lines
    assert "│ all sources │ – │ – │ 1.5 │ 2 │" in lines


def test_blocks_of_layers_are_told_apart():
    blocks = (Segment("all", ("mlp",), 0, 2, "text"), Segment("all", ("mlp",), 2, 4, "text"))
    one = dataclasses.replace(recipe(2, weight=[[0.25, 0.5], [0.75, 1.0]]), segments=blocks)
    heads = "┃ source ┃ weight, all 0–1 of text ┃ weight, all 2–3 of text ┃"
    assert heads in printed(one)


def test_of_many_segments_the_range_is_shown():
    weight = np.stack([np.linspace(0, 1, 40), np.full(40, 0.5)])
    lines = printed(recipe(40, weight=weight))
    assert "of 40 segments the least – the largest" in " ".join(lines[:4])
    assert "│ math │ 0 – 1 (0.5) │" in lines
    assert "│ ja │ 0.5 │" in lines


def test_a_path_is_shown_by_its_stretches():
    hops = (*(Hop("a", layer) for layer in range(4)), Hop("b", 2, 0.5), Hop("b", 3, 0.75))
    pool = {"a": Ingredient("a"), "b": Ingredient("b")}
    lines = printed(PathRecipe(pool, "a", hops))
    assert "│ a │ 0 – 3 │ 1 │" in lines
    assert "│ b │ 2 – 3 │ 0.5 – 0.75 (0.625) │" in lines
