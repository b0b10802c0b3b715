"""Recipes in mergekit's words, read back by our own reader."""

import dataclasses

import numpy as np
import pytest
import yaml

from evojax_merge import api
from evojax_merge.exchange import ExchangeError, apply_plan, parse_configuration, plan_merge
from evojax_merge.exchange.recipe_writer import to_mergekit
from evojax_merge.models.segments import Segment
from evojax_merge.sources.reference import Ingredient
from tests.checkpoints_factory import mlp_config, tiny_config, word_tokenizer, write_checkpoint
from tests.exchange.conftest import tensors_of
from tests.exchange.test_application import recipe

BLOCKS = (
    Segment("outer", ("embedding", "norm", "head"), 0, 3),
    Segment("attention", ("attention",), 0, 2),
    Segment("attention", ("attention",), 2, 3),
    Segment("mlp", ("mlp",), 0, 3),
)


def blocks(models, operator, arguments, base=True, **shapes):
    """A recipe of four segments with a different number in each."""
    rng = np.random.default_rng(3)
    coefficients = {
        name: rng.uniform(0.1, 0.9, shape).astype(np.float32) for name, shape in shapes.items()
    }
    if "weight" not in shapes:  # a weight that mergekit has not must be 1
        coefficients["weight"] = np.ones(EACH, np.float32)
    plain = recipe(models, operator, arguments, base)
    return dataclasses.replace(plain, segments=BLOCKS, coefficients=coefficients)


EACH, ALL = (3, 4), (4,)
RECIPES = [
    ("linear", {"normalize": False}, {"weight": EACH}),
    ("task_arithmetic", {"lam": 0.7}, {"weight": EACH}),
    ("ties", {"rescale": "l1"}, {"weight": EACH, "density": EACH}),
    ("task_vectors", {"trim": "outliers"}, {"weight": EACH, "density": EACH, "gamma": EACH}),
    ("task_vectors", {"consensus": "sum", "lam": 0.7}, {"weight": EACH}),
    ("multislerp", {"of_task_vectors": True}, {"weight": EACH}),
    ("sce", {}, {"select_topk": ALL}),
    ("ramplus", {"epsilon": 0.02}, {"r": ALL, "alpha": ALL}),
]


def agrees(given, tmp_path):
    plan = plan_merge(parse_configuration(to_mergekit(given)))
    found = tensors_of(apply_plan(plan, tmp_path / "out"))
    expected = tensors_of(api.export(api.merge(given), tmp_path / "native"))
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor, rtol=2e-6, atol=3e-7, err_msg=name)


@pytest.mark.few(2)
@pytest.mark.parametrize(("operator", "arguments", "shapes"), RECIPES)
def test_what_is_written_gives_the_recipes_tensors(models, tmp_path, operator, arguments, shapes):
    agrees(blocks(models, operator, arguments, **shapes), tmp_path)


def test_equal_weights_of_any_size_are_mergekits_karcher(models, tmp_path):
    weight = np.tile(np.array([0.5, 1, 2, 7], np.float32), (3, 1))
    plain = recipe(models, "karcher", {"max_iter": 5}, base=False)
    given = dataclasses.replace(plain, segments=BLOCKS, coefficients={"weight": weight})
    agrees(given, tmp_path)
    weight = weight * np.array([[1], [1], [2]], np.float32)
    with pytest.raises(ExchangeError, match=r"karcher has no weight: .* the same for all sources"):
        to_mergekit(dataclasses.replace(given, coefficients={"weight": weight}))


PARTS = (
    Segment("queries", ("q_proj",), 0, 1),
    Segment("queries", ("q_proj",), 1, 3),
    Segment("down", ("down_proj", "lm_head"), 0, 3),
    Segment("rest", ("attention", "mlp", "norm", "embedding", "head"), 0, 3),
)


def test_parts_of_names_become_filters(models, tmp_path):
    weight = np.random.default_rng(0).uniform(0.1, 0.9, EACH).astype(np.float32)
    plain = recipe(models, "task_arithmetic", {})
    given = dataclasses.replace(plain, segments=PARTS, coefficients={"weight": weight})
    agrees(given, tmp_path)
    (first, *_) = yaml.safe_load(to_mergekit(given))["slices"][0]["sources"]
    rules = first["parameters"]["weight"]
    assert [rule.get("filter") for rule in rules] == ["q_proj", "down_proj", "lm_head", None]


def test_a_part_of_paths_alone_is_no_filter(models):
    segments = (Segment("q", ("layers.self_attn",), 0, 3), Segment("r", PARTS[-1].groups, 0, 3))
    given = dataclasses.replace(
        recipe(models, "linear", {}),
        segments=segments,
        coefficients={"weight": np.ones((3, 2), np.float32)},
    )
    with pytest.raises(ExchangeError, match=r"layers\.self_attn .* model\.layers\.0\.self_attn"):
        to_mergekit(given)


def test_an_adapter_or_a_classifier_is_refused(models, tmp_path):
    given = recipe(models, "task_arithmetic", {}, weight=[1, 1, 1])
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    classifier = write_checkpoint(tmp_path / "digits", mlp_config(4, 8, 3))
    for path, message in (
        (adapter, "adapter is a LoRA adapter"),
        (classifier, "digits is of the family mlp, for which no file of mergekit"),
    ):
        sources = (*given.sources[:2], Ingredient(str(path)))
        with pytest.raises(ExchangeError, match=message):
            to_mergekit(dataclasses.replace(given, sources=sources))


def test_the_tokenizer_of_a_source_is_written(models, tmp_path):
    paths = {}
    for name in ("base", "a", "b", "c"):
        tokenizer = word_tokenizer(["x", "y"] if name != "b" else ["y", "x"])
        config = tiny_config(vocab_size=len(tokenizer))
        seed = ord(name[0])
        paths[name] = str(write_checkpoint(tmp_path / name, config, seed=seed, tokenizer=tokenizer))
    given = recipe(paths, "linear", {}, weight=[1, 2, 3])
    assert "tokenizer_source" not in to_mergekit(given)
    text = to_mergekit(dataclasses.replace(given, reference=1))
    assert yaml.safe_load(text)["tokenizer_source"] == paths["b"]
    assert parse_configuration(text).tokenizer.source == paths["b"]
    other = tiny_config(vocab_size=6, rope_theta=20.0)
    paths["b"] = str(write_checkpoint(tmp_path / "other", other))
    turned = dataclasses.replace(recipe(paths, "linear", {}, weight=[1, 2, 3]), reference=1)
    with pytest.raises(ExchangeError, match=r"takes the configuration of .*other"):
        to_mergekit(turned)


def test_it_is_readable(models):
    weight = np.array([[0.5, 0.1, 0.1, 0.5], [1, 1, 1, 1], [2, 2, 3, 2]], np.float32)
    given = dataclasses.replace(
        recipe(models, "linear", {}), segments=BLOCKS, coefficients={"weight": weight}
    )
    tree = yaml.safe_load(to_mergekit(given))
    first, last = tree["slices"]
    assert [entry["layer_range"] for entry in first["sources"]] == [[0, 2]] * 3
    assert first["sources"][0]["parameters"]["weight"] == [
        {"filter": "norm", "value": 0.5},
        {"filter": "self_attn", "value": 0.1},
        {"value": 0.5},
    ]
    assert first["sources"][1]["parameters"] == {"weight": 1.0}
    assert last["sources"][2]["parameters"]["weight"][1] == {"filter": "self_attn", "value": 3.0}
    assert tree["parameters"] == {"normalize": True}
    assert (tree["dtype"], tree["out_dtype"]) == ("float32", "float32")


def test_densities_are_written_as_they_are_used(models):
    weight = {"weight": [1, 1, 1]}
    text = to_mergekit(recipe(models, "ties", {}, density=[0.12345, 0.5, 1], **weight))
    assert yaml.safe_load(text)["models"][0]["parameters"]["density"] == 0.123


def test_random_masks_are_said_to_differ(models):
    given = recipe(models, "dare_ties", {}, weight=[1, 1, 1], density=[0.5, 0.5, 0.5])
    text = to_mergekit(given)
    assert "other random masks" in text
    assert yaml.safe_load(text)["parameters"]["rescale"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operator": "evojax_merge.operators.magmax"}, "mergekit has no method for"),
        ({"operator": "mine.ties"}, "mergekit has no method for the operator mine.ties"),
        ({"arguments": {"rescale": "linf"}}, "mergekit has no rescale 'linf', only None, l1"),
        ({"vocabulary": {"a": {"method": "by_token"}}}, "aligned token by token"),
        ({"base": None}, "ties needs a base"),
        ({"sources": (Ingredient("x"),) * 3}, "named twice"),
        ({"operator": "evojax_merge.operators.sce"}, "sce"),
        (
            {
                "coefficients": {
                    "weight": np.full((3, 1), -1, np.float32),
                    "density": np.ones((3, 1), np.float32),
                }
            },
            "a negative weight",
        ),
    ],
)
def test_what_mergekit_cannot_say_is_refused(models, change, message):
    given = recipe(models, "ties", {}, weight=[1, 1, 0.5], density=[0.5, 0.5, 0.5])
    with pytest.raises(ExchangeError, match=message):
        to_mergekit(dataclasses.replace(given, **change))
