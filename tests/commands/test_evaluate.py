"""What ``evaluate`` refuses before anything is read, and how it compares models."""

import json
from pathlib import Path

import numpy as np
import pytest

from evojax_merge.cli import main
from evojax_merge.commands.subjects import subjects_of

DIGITS = Path("experiments/digits/sources").absolute()

TASK = ["fitness=text_to_image", "fitness.data=items.jsonl"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.base=other"], "model.base: evaluate measures the models that are given first"),
        (["++model.parts=[unet]"], "takes model.carriers alone"),
        (["model.carriers=[jp]"], "give a mapping of parts to paths"),
        (["model.carriers={text_encoder: 3}"], "model.carriers.text_encoder is 3; give a"),
    ],
)
def test_keys_that_would_count_for_nothing(overrides, message, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "DIR", *TASK, *overrides])
    assert message in capsys.readouterr().err


def test_carriers_beside_a_recipe(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path / "recipe.yaml"), *TASK, "model.carriers={vae: other}"])
    assert "model.carriers: a recipe names its own" in capsys.readouterr().err


def refused(capsys, *words) -> str:
    with pytest.raises(SystemExit):
        main(["evaluate", *map(str, words)])
    return capsys.readouterr().err


def test_models_are_compared_with_the_first_item_by_item(tmp_path, capsys):
    models = [DIGITS / name for name in ("low", "high", "base")]
    main(["evaluate", *map(str, models), "fitness=digits", "--out", str(tmp_path / "out")])
    assert "difference from low, item by item" in capsys.readouterr().out
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert [row["name"] for row in results] == ["low", "high", "base"]
    items = [
        [json.loads(line)["right"] for line in file.read_text().splitlines()]
        for file in (tmp_path / "out" / row["name"] / "items.jsonl" for row in results)
    ]
    differences = json.loads((tmp_path / "out/differences.json").read_text())
    for row, own in zip(differences, items[1:], strict=True):
        apart = np.array(own, float) - np.array(items[0], float)
        assert row["against"] == "low"
        assert row["score"] == pytest.approx(apart.mean())
        assert (row["better"], row["worse"]) == ((apart > 0).sum(), (apart < 0).sum())
        assert row["low"] < row["score"] < row["high"]


def test_what_cannot_be_compared_is_told_before_anything_is_measured(capsys):
    low = DIGITS / "low"
    assert "give a model to evaluate" in refused(capsys, "fitness=digits")
    assert "is named twice" in refused(capsys, low, f"{low}/", "fitness=digits")
    told = refused(capsys, low, "nowhere/at/all", "fitness=digits")
    assert "nowhere/at/all: no such directory" in told


def test_names_tell_models_apart(tmp_path):
    for name in ("a/final", "b/final", "run"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "run/config.yaml").touch()
    (tmp_path / "mine.yaml").touch()
    given = ["a/final", "b/final", "run", "mine.yaml"]
    found = subjects_of([str(tmp_path / name) for name in given])
    assert [one.name for one in found[:2]] == ["a/final", "b/final"]
    assert found[2].recipe == tmp_path / "run/recipe.yaml"
    found = subjects_of([str(tmp_path / name) for name in given[1:]] + ["org/model"])
    assert [one.name for one in found] == ["final", "run", "mine", "model"]
