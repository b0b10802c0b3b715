"""What is refused from headers alone, and where a layer stands."""

import warnings

import numpy as np
import pytest

from evojax_merge.exchange import ExchangeError
from tests.checkpoints_factory import tiny_config, write_checkpoint
from tests.exchange.conftest import entries, plan_of

W = {"weight": 0.5}


def ties(models, /, **changes):
    tree = {
        "merge_method": "ties",
        "base_model": models["base"],
        "models": entries(models, a=W, b=W),
    }
    return tree | changes


def weights(plan):
    return {job.name: job.coefficients["weight"][0] for job in plan.jobs}


def test_layers_run_from_the_first_value_to_the_last(models):
    tree = ties(models, models=entries(models, a={"weight": [0, 1]}, b=W))
    with pytest.warns(UserWarning, match="its first value, 0.0, as in mergekit"):
        found = weights(plan_of(tree))
    name = "model.layers.{}.mlp.up_proj.weight"
    assert [found[name.format(i)] for i in range(3)] == [0, 0.5, 1]
    assert found["model.embed_tokens.weight"] == found["lm_head.weight"] == 0


def test_a_slice_of_one_layer_takes_the_last_value(models):
    source = {"model": models["a"], "layer_range": [1, 2], "parameters": {"scale": [1, 3]}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = plan_of({"merge_method": "passthrough", "slices": [{"sources": [source]}]})
    assert {job.coefficients["scale"] for job in plan.jobs if job.slot.layer == 0} == {3}
    assert plan.hf_config["num_hidden_layers"] == 1


def test_the_nearest_scope_wins(models):
    part = {
        "sources": [
            {"model": models["a"], "layer_range": [0, 3], "parameters": {"weight": 1}},
            {"model": models["b"], "layer_range": [0, 3]},
            {"model": models["c"], "layer_range": [0, 3]},
        ],
        "parameters": {"weight": [{"filter": "mlp", "value": 2}]},
    }
    plan = plan_of({"merge_method": "linear", "slices": [part], "parameters": {"weight": 3}})
    found = {job.name: job.coefficients["weight"] for job in plan.jobs}
    assert found["model.layers.0.mlp.up_proj.weight"] == (1, 2, 2)
    assert found["model.norm.weight"] == (1, 3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {"models": entries(m, a={}, b=W)}, "ties needs the parameter weight"),
        (
            lambda m: {"models": entries(m, a={"weight": {"filter": "mpl", "value": 1}}, b=W)},
            r"the filter 'mpl' matches no tensor \(did you mean mlp\?\)|needs the parameter weight",
        ),
        (
            lambda m: {"models": entries(m, a=W | {"density": 1.5}, b=W)},
            "density 1.5 of ties for model.embed_tokens.weight must be",
        ),
        (lambda m: {"base_model": None}, "ties needs a base_model"),
        (lambda m: {"models": entries(m, a=W) + entries(m, a=W)}, "is named twice"),
        (
            lambda m: {"merge_method": "slerp", "models": entries(m, a={}, b={})},
            "slerp merges 1 models besides the base, got 2",
        ),
        (
            lambda m: {"merge_method": "model_stock", "models": entries(m, a={})},
            "model_stock merges at least 2 models besides the base, got 1",
        ),
        (
            lambda m: {
                "merge_method": "della",
                "models": entries(m, a=W | {"density": 0.9, "epsilon": 0.2}),
            },
            "must stay within",
        ),
        (
            lambda m: {
                "merge_method": "ramplus_tl",
                "models": entries(m, a={}, b={}),
                "parameters": {"r": -5},
            },
            "r -5 of ramplus for .* must be a finite number of at least 0$",
        ),
        (
            lambda m: {
                "merge_method": "ram",
                "models": entries(m, a={}, b={}),
                "parameters": {"epsilon": -1},
            },
            "models, for model.embed_tokens.weight: ram: epsilon must be",
        ),
        (
            lambda m: {
                "merge_method": "karcher",
                "models": entries(m, a={}, b={}),
                "parameters": {"max_iter": 0},
            },
            "karcher: max_iter must be a whole number of at least 1, not 0",
        ),
        (lambda m: {"parameters": {"lambda": [0.2, float("nan")]}}, "lambda: nan must be a finite"),
        (lambda m: {"chat_template": "chatmll"}, r"no template 'chatmll' \(did you mean chatml"),
        (lambda m: {"tokenizer_source": "base"}, "carries no tokenizer"),
        (
            lambda m: {
                "merge_method": "linear",
                "base_model": None,
                "models": entries(m, a={"weight": 1}, b={"weight": -1}),
            },
            "embed_tokens.weight: the weights add up to 0",
        ),
    ],
)
def test_what_cannot_be_merged_is_refused(models, change, message):
    with pytest.raises(ExchangeError, match=message):
        plan_of(ties(models, **change(models)))


def test_a_filter_that_matches_nothing_is_refused(models):
    given = [{"filter": "mpl", "value": 1}, {"value": 0.5}]
    with pytest.raises(ExchangeError, match=r"'mpl' matches no tensor \(did you mean mlp\?\)"):
        plan_of(ties(models, models=entries(models, a={"weight": given}, b=W)))


def test_a_parameter_that_does_nothing_is_said(models):
    given = entries(models, a=W | {"density": 0.5})
    with pytest.warns(UserWarning, match="makes no difference to task_arithmetic"):
        plan_of(ties(models, merge_method="task_arithmetic", models=given))


def test_negative_weights_under_normalize_are_said_to_differ(models):
    with pytest.warns(UserWarning, match="by the sum of absolute values"):
        plan_of(ties(models, models=entries(models, a={"weight": -0.5}, b=W)))


def test_models_of_another_shape_are_refused(models, tmp_path):
    other = write_checkpoint(tmp_path / "x", tiny_config(intermediate_size=64))
    more = write_checkpoint(tmp_path / "y", tiny_config(vocab_size=70))
    deep = write_checkpoint(tmp_path / "z", tiny_config(num_hidden_layers=4))
    kin = write_checkpoint(tmp_path / "q", tiny_config("qwen2"))
    for path, message in (
        (other, r"model.layers.0.mlp.gate_proj.weight: \[48, 32\]"),
        (more, "give a tokenizer_source"),
        (deep, "different numbers of layers"),
        (kin, "is a qwen2"),
    ):
        with pytest.raises(ExchangeError, match=message):
            plan_of(ties(models, models=[{"model": str(path), "parameters": W}]))


def test_the_result_keeps_the_dtype_of_its_inputs(models, tmp_path):
    half = write_checkpoint(tmp_path / "h", tiny_config(), dtype=np.float16)
    tree = {"merge_method": "passthrough", "models": [{"model": str(half)}]}
    assert plan_of(tree).hf_config["dtype"] == "float16"
    assert plan_of(tree | {"out_dtype": "bfloat16"}).hf_config["dtype"] == "bfloat16"
