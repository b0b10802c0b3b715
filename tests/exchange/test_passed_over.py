"""What mergekit passes over or takes for something else: its checkpoint, and one warning."""

import json
import warnings

import pytest
import yaml

from evojax_merge import cli
from evojax_merge.exchange import ExchangeError, apply_mergekit
from tests.checkpoints_factory import random_tensors, tiny_config, write_checkpoint
from tests.exchange.conftest import entries, merged, plan_of, tensors_of

W = {"weight": 0.5}
TIES = {"merge_method": "ties", "base_model": "base", "models": {"a": W, "b": W}}
SCE = {"merge_method": "sce", "base_model": "base", "models": {"a": {}, "b": {}}}
STOCK = {"merge_method": "model_stock", "base_model": "base", "models": {"a": {}, "b": {}}}
PART = {"sources": [{"model": "a", "layer_range": [0, 2]}]}
REST = {"sources": [{"model": "b", "layer_range": [2, 3]}]}
STACK = {"merge_method": "passthrough", "slices": [PART, REST]}


def sliced(*ranges):
    return {"sources": [{"model": "a", "layer_range": list(own)} for own in ranges]}


def filtered(text):
    return {"models": {"a": {"weight": [{"filter": text, "value": 1}, {"value": 0.5}]}, "b": W}}


FILES = {
    "weight of model_stock": (STOCK, {"models": {"a": {"weight": [2, 1]}, "b": {}}}, "weight"),
    "normalize of sce": (SCE, {"parameters": {"normalize": True}}, "sce has no such parameter"),
    "density of passthrough": (STACK, {"parameters": {"density": 0.5, "weight": 1}}, "density"),
    "random_seed": (TIES, {"parameters": {"random_seed": 3}}, "random_seed is ignored"),
    "random_seed of the file": (TIES, {"random_seed": 0}, "random_seed is ignored"),
    "int8_mask": (STOCK, {"parameters": {"int8_mask": True}}, "int8_mask"),
    "gamma": (TIES, {"models": {"a": W | {"gamma": 0.1}, "b": W}}, "ties has no such parameter"),
    "lambda of a model": (TIES, {"models": {"a": W | {"lambda": 2}, "b": W}}, "one for all"),
    "of the base": (
        TIES,
        {"models": {"base": {"weight": 7, "density": 0.1}, "a": W, "b": W}},
        r"models\[0\].parameters.weight is ignored \(ties has none of its base model",
    ),
    "other layers": (TIES, filtered("layers.31."), r"'layers.31.' matches no tensor"),
    "other families": (TIES, filtered("q_proj.bias"), "matches no tensor"),
    "other architectures": (TIES, filtered("block_sparse_moe.experts"), "matches no tensor"),
    "name": (TIES, {"name": "best"}, "name is ignored"),
    "options": (TIES, {"copy_tokenizer": True, "cuda": True}, "copy_tokenizer is ignored.*cuda"),
    "text for a switch": (TIES, {"parameters": {"normalize": "True"}}, "'True' is taken as True"),
    "off": (SCE, {"parameters": {"int8_mask": "off"}}, "'off' is taken as False"),
    "text for a number": (TIES, {"models": {"a": {"weight": "0.5"}, "b": W}}, "'0.5' is taken"),
    "text for layers": (
        STACK,
        {"slices": [sliced(("0", "2")), REST]},
        r"layer_range\[0\]: '0' is taken as 0; slices\[0\].sources\[0\].layer_range\[1\]: '2'",
    ),
    "numbers with a point": (STACK, {"slices": [sliced((0, 2.0)), REST]}, "2.0 is taken as 2"),
    "no layers": (
        STACK,
        {"slices": [PART, sliced((7, 7)), REST]},
        r"slices\[1\] has no layers",
    ),
    "residual_weight": (STACK, {"slices": [PART | {"residual_weight": 1}, REST]}, "is ignored"),
    "layers of whole models": (TIES, "layer_range", r"models\[0\].layer_range is ignored"),
}


def tree_of(models, given):
    """With paths of models in the place of their names."""
    tree = json.loads(json.dumps(given))
    if "base_model" in tree:
        tree["base_model"] = models[tree["base_model"]]
    if "models" in tree:
        tree["models"] = entries(models, **tree["models"])
    for part in tree.get("slices", ()):
        for source in part["sources"]:
            source["model"] = models[source["model"]]
    return tree


@pytest.mark.few(11)
@pytest.mark.parametrize("name", FILES)
def test_the_same_plan_and_one_warning(models, tmp_path, name):
    plain, change, message = FILES[name]
    tree = tree_of(models, plain | change) if isinstance(change, dict) else tree_of(models, plain)
    if isinstance(change, str):
        tree["models"][0][change] = [0, 3]
    with pytest.warns(UserWarning, match=message) as caught:
        found = plan_of(tree)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = plan_of(tree_of(models, plain))
    assert found.jobs == wanted.jobs
    assert found.hf_config == wanted.hf_config
    (tmp_path / "file.yml").write_text(yaml.safe_dump(tree))
    with pytest.raises(ExchangeError, match=rf"warnings are errors.*(?s:.*){message}"):
        apply_mergekit(tmp_path / "file.yml", tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parity
@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:read as mergekit")
def test_the_same_checkpoint_as_mergekit(mergekit, models, tmp_path, name):
    from tests.exchange.test_parity import agree

    plain, change, _ = FILES[name]
    tree = tree_of(models, plain | change) if isinstance(change, dict) else tree_of(models, plain)
    if isinstance(change, str):
        tree["models"][0][change] = [0, 3]
    tree["dtype"] = "float32"
    agree(merged(tree, tmp_path / "ours"), mergekit(tree, tmp_path / "theirs"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"normalise": True}}, r"normalise \(did you mean normalize\?\)"),
        ({"naem": "x"}, "unknown key naem"),
        (filtered("mpl"), r"'mpl' matches no tensor \(did you mean mlp\?\)"),
        (filtered("self_attn.q_prj"), "'self_attn.q_prj' matches no tensor"),
        (filtered("layers.31.mpl"), "matches no tensor"),
        ({"models": {"base": {"wieght": 1}, "a": W}}, r"wieght \(did you mean weight\?\)"),
        ({"parameters": {"normalize": "maybe"}}, "'maybe' must be true or false"),
    ],
)
def test_a_slip_of_the_pen_is_an_error(models, change, message):
    with pytest.raises(ExchangeError, match=message):
        plan_of(tree_of(models, TIES | change))


def test_a_stack_without_layers_is_refused(models):
    with pytest.raises(ExchangeError, match="no slice has a layer"):
        plan_of(tree_of(models, STACK | {"slices": [sliced((1, 1))]}))


@pytest.mark.filterwarnings("ignore:read as mergekit")
def test_an_empty_first_slice_gives_the_embeddings(models):
    tree = tree_of(models, STACK | {"slices": [sliced((0, 0)), REST]})
    origins = {job.name: job.origins[0].model for job in plan_of(tree).jobs}
    assert origins["model.embed_tokens.weight"] != origins["lm_head.weight"]


def test_anchors_and_what_they_lend(models, tmp_path):
    text = f"""
common: &common
  inner: &inner {{weight: 0.5}}
  kept: {{<<: *inner, density: 0.5}}
merge_method: ties
base_model: {models["base"]}
models:
  - &first {{model: {models["a"]}, parameters: *inner}}
  - {{<<: *first, model: {models["b"]}}}
"""
    (tmp_path / "file.yml").write_text(text)
    with pytest.warns(UserWarning, match="common is ignored but for what it lends to other keys"):
        apply_mergekit(tmp_path / "file.yml", tmp_path / "out")
    plain = plan_of(tree_of(models, TIES))
    assert tensors_of(tmp_path / "out").keys() == {job.name for job in plain.jobs}
    (tmp_path / "file.yml").write_text(text.replace("common: &common", "comon:", 1))
    with pytest.warns(UserWarning, match="comon is ignored"):  # it holds anchors still
        apply_mergekit(tmp_path / "file.yml", tmp_path / "out", overwrite=True)


def test_strict_is_an_option_of_the_command(models, tmp_path, capsys):
    tree = tree_of(models, TIES | {"name": "best"})
    (tmp_path / "file.yml").write_text(yaml.safe_dump(tree))
    command = ["apply", str(tmp_path / "file.yml"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--strict"])
    assert ended.value.code == 2
    assert "name is ignored" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_configurations_that_differ_are_named_in_one_warning(models, tmp_path):
    changes = {
        "x": {"rope_theta": 5e5, "rms_norm_eps": 1e-5},
        "y": {"hidden_act": "gelu", "num_attention_heads": 8, "head_dim": 4},
    }
    changes["y"]["num_key_value_heads"] = 4
    for name, own in changes.items():
        write_checkpoint(
            tmp_path / name, tiny_config(**own), tensors=random_tensors(tiny_config(), 5)
        )
    tree = tree_of(models | {n: str(tmp_path / n) for n in changes}, TIES)
    tree["models"] += [{"model": str(tmp_path / name), "parameters": W} for name in changes]
    with pytest.warns(UserWarning, match="its configuration differs") as caught:
        plan_of(tree)
    (message,) = (str(one.message) for one in caught)
    for part in (
        "rope.theta 500000.0 (used: 10000.0)",
        "rms_norm_eps 1e-05 (used: 1e-06)",
        "hidden_act 'gelu' (used: 'silu')",
        "num_heads 8 (used: 4)",
        f"{tmp_path / 'y'}: ",
    ):
        assert part in message
