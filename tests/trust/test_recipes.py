"""A recipe from a stranger is data: nothing that it names or holds is run."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from evojax_merge import api, cli, operators
from evojax_merge.operators.factories import FACTORIES, PREFIX, make_operator
from evojax_merge.recipes.coefficients import Recipe, RecipeError
from tests.checkpoints_factory import tiny_config, write_checkpoint

GROUPS = ["attention", "mlp", "norm", "embedding", "head"]
FOREIGN = """
from pathlib import Path
from evojax_merge.operators import linear

Path(__file__).with_name("imported").touch()

def half(normalize=True):
    return linear(normalize)

NUMBER = 3
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "a", "b")):
        write_checkpoint(folder / name, tiny_config(), seed=seed)
    return {
        "evojax_merge": 1,
        "operator": PREFIX + "linear",
        "arguments": {},
        "base": {"path": str(folder / "base")},
        "sources": [{"path": str(folder / name)} for name in ("a", "b")],
        "seed": 0,
        "segments": [{"name": "all", "groups": GROUPS, "layers": [0, 3], "weight": [0.5, 0.5]}],
    }


@pytest.fixture
def foreign(tmp_path, monkeypatch) -> Path:
    """A module from elsewhere, which leaves a trace where it is imported."""
    (tmp_path / "strangers_module.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "imported"
    sys.modules.pop("strangers_module", None)


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.fixture
def bomb(tmp_path, monkeypatch) -> Path:
    """A pickle in the working directory that leaves a trace where it is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bomb.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(TypeError):
        np.load("bomb.npy", allow_pickle=True)[:1]
    assert (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()
    return tmp_path / "ran"


LOAD = {"file": "bomb.npy", "allow_pickle": True}
NESTED = {"_target_": "numpy.load", **LOAD}


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        ("evojax_merge.operators.base.np.load", LOAD),
        ("evojax_merge.operators.base.jnp.load", LOAD),
        ("evojax_merge.operators.linear.linear", {}),
        ("evojax_merge.operators.make_operator", {"name": "x", "arguments": {}}),
        ("evojax_merge.api.load", {"source": "x"}),
        (PREFIX + "ties", {"lam": NESTED}),
        (PREFIX + "ties", {"lam": [{"deep": NESTED}]}),
        (PREFIX + "ties", {"_partial_": True}),
        (PREFIX + "ties", {"lam": "${oc.create:{_target_: numpy.load, file: bomb.npy}}"}),
        (PREFIX + "ties", {"lam": "${oc.env:HOME}"}),
        (PREFIX + "choice", {"options": {"a": {"_target_": PREFIX + "base.np.load", **LOAD}}}),
        (PREFIX + "choice", {"options": {"a": {"_target_": PREFIX + "ties", "lam": NESTED}}}),
        (PREFIX + "choice", {"options": NESTED}),
        (PREFIX + "choice", {"options": {"a": {"_target_": PREFIX + "choice"}}}),
    ],
)  # fmt: skip
def test_nothing_but_the_public_operators_is_called(tree, bomb, operator, arguments, trust):
    recipe = Recipe.from_tree(tree | {"operator": operator, "arguments": arguments}, "recipe")
    with pytest.raises(RecipeError, match="operator"):
        api.merge(recipe, trust_operator=trust)
    assert not bomb.exists()


@pytest.mark.parametrize("command", ["apply", "evaluate"])
@pytest.mark.parametrize("operator", ["strangers_module.half", "os.system", "numpy.load"])
def test_code_from_elsewhere_is_not_even_imported(
    tree, foreign, tmp_path, capsys, command, operator
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree | {"operator": operator}))
    more = ["--out", str(tmp_path / "out")] if command == "apply" else ["fitness=digits"]
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, str(recipe), *more])
    assert stopped.value.code == 2
    assert "code from outside this package" in capsys.readouterr().err
    assert not foreign.exists()


def test_trusted_code_is_shown_then_run_on_plain_values(tree, foreign, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree | {"operator": "strangers_module.half"}))
    out = tmp_path / "out"
    cli.main(["apply", str(recipe), "--out", str(out), "--trust-operator"])
    assert "imports and runs strangers_module.half" in capsys.readouterr().out
    assert foreign.exists()
    assert (out / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("strangers_module.half", {"normalize": {"_target_": "x.y"}}, "made into an object"),
        ("strangers_module.none", {}, "strangers_module has no none; it has half"),
        ("no_such_module.none", {}, "there is no module no_such_module"),
        ("half", {}, "give FILE.py:FUNCTION, or MODULE:FUNCTION"),
        ("strangers_module.NUMBER", {}, "is 3; give a function"),
        ("strangers_module.Path", {}, "no operator"),
        ("strangers_module.half", {"no": 1}, "takes the arguments normalize"),
    ],
)
def test_trusted_code_takes_nothing_nested(tree, foreign, operator, arguments, message):
    recipe = Recipe.from_tree(tree | {"operator": operator, "arguments": arguments}, "recipe")
    with pytest.raises(RecipeError, match=message):
        api.merge(recipe, trust_operator=True)


def test_a_text_in_braces_is_a_text(tree):
    """regmean's template may hold what a configuration would look up."""
    operator = make_operator(
        PREFIX + "regmean", {"data": "items.jsonl", "template": "${oc.env:HOME} {text}"}
    )
    assert operator.evidence.template == "${oc.env:HOME} {text}"


def test_every_operator_option_is_in_the_table():
    names = {path.stem for path in Path("conf/operator").glob("*.yaml")} - {"own"}
    assert names == set(FACTORIES)
    for name in names:
        target = yaml.safe_load(Path(f"conf/operator/{name}.yaml").read_text())["_target_"]
        assert FACTORIES[target.removeprefix(PREFIX)] is getattr(operators, name)


def test_options_of_a_choice_are_looked_up(tree):
    options = {name: {"_target_": PREFIX + name} for name in ("task_arithmetic", "ties")}
    made = make_operator(PREFIX + "choice", {"options": options})
    assert made.coefficients[0].labels == ("task_arithmetic", "ties")


def test_a_near_name_is_named(tree):
    with pytest.raises(ValueError, match=r"did you mean evojax_merge\.operators\.ties\?"):
        make_operator(PREFIX + "tiess", {})


def test_evidence_is_not_written_through_a_link(tree, tmp_path):
    """Nor is a pipe waited for in its place."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    recipe = tmp_path / "run" / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tree))
    evidence = tmp_path / "run" / "evidence"
    evidence.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecipeError, match="leads out of the recipe's directory"):
        api.merge(recipe)
    evidence.unlink()
    evidence.mkdir()
    os.mkfifo(evidence / "gram-0.safetensors")
    with pytest.raises(RecipeError, match="no regular file"):
        api.merge(recipe)


@pytest.mark.parametrize(
    "given",
    [["--dtype", "flaot32"], ["--dtype", "int8"], ["--out", "items.jsonl"]],
    ids=" ".join,
)
def test_what_evaluate_cannot_do_is_refused_at_once(tree, tmp_path, monkeypatch, capsys, given):
    monkeypatch.chdir(tmp_path)
    Path("items.jsonl").write_text('{"text": "a"}\n')
    model = tree["sources"][0]["path"]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["evaluate", model, "fitness=perplexity", "fitness.data=items.jsonl", *given])
    assert stopped.value.code == 2
    assert given[1] in capsys.readouterr().err


def test_apply_says_of_a_file_that_it_exists(tmp_path, capsys):
    (tmp_path / "merged.safetensors").write_bytes(b"mine")
    with pytest.raises(SystemExit):
        cli.main(["apply", "recipe.yaml", "--out", str(tmp_path / "merged.safetensors")])
    assert (
        "merged.safetensors: exists; give another name, or --overwrite" in capsys.readouterr().err
    )


@pytest.mark.parametrize("out", [".", "run", "run/../run"])
def test_apply_does_not_replace_what_holds_the_recipe(tree, tmp_path, monkeypatch, capsys, out):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/recipe.yaml").write_text(yaml.safe_dump(tree))
    Path("run/notes.txt").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["apply", "run", "--out", out, "--overwrite"])
    assert stopped.value.code == 2
    assert "give another directory" in capsys.readouterr().err
    assert Path("run/notes.txt").read_text() == "mine"
