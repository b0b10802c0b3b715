"""From file to file: the same numbers as in memory, whatever the shards."""

import importlib
import json
import re

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from transformers import AutoTokenizer

from evojax_merge import api
from evojax_merge.checkpoints import CheckpointError, load
from evojax_merge.exchange import ExchangeError, tensor_merge
from evojax_merge.exchange.methods import METHODS
from evojax_merge.models.segments import Segment
from evojax_merge.operators.statistics import gram, inner_products, on_file
from evojax_merge.recipes.coefficients import Recipe
from evojax_merge.sources.reference import Ingredient
from tests.checkpoints_factory import random_tensors, tiny_config, word_tokenizer, write_checkpoint
from tests.exchange.conftest import entries, merged, plan_of, tensors_of

GROUPS = ("attention", "mlp", "norm", "embedding", "head")


def recipe(models, operator, arguments, base=True, **coefficients):
    """One segment; every coefficient has a value per source."""
    return Recipe(
        operator=f"evojax_merge.operators.{operator}",
        arguments=arguments,
        base=Ingredient(models["base"]) if base else None,
        sources=tuple(Ingredient(models[name]) for name in "abc"),
        segments=(Segment("all", GROUPS, 0, 3),),
        coefficients={
            name: np.array(value, np.float32)[..., None] for name, value in coefficients.items()
        },
        seed=7,
    )


WEIGHT, DENSITY = [0.3, 0.5, 0.9], [0.2, 0.555, 1.0]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "method",
    ["ties", pytest.param("breadcrumbs_ties", marks=pytest.mark.slow), "dare_ties", "della_linear"],
)
def test_a_file_gives_what_the_recipe_gives_in_memory(models, tmp_path, method):
    density = [0.2, 0.5, 0.8] if method.startswith("della") else DENSITY
    extra = {"della_linear": {"epsilon": 0.1}, "breadcrumbs_ties": {"gamma": 0.02}}.get(method, {})
    per_model = [{"weight": w, "density": d} | extra for w, d in zip(WEIGHT, density, strict=True)]
    tree = {
        "merge_method": method,
        "base_model": models["base"],
        "models": entries(models, **dict(zip("abc", per_model, strict=True))),
    }
    found = merged(tree, tmp_path / "out", seed=7)
    values = {"weight": WEIGHT, "density": density} | {k: [v] * 3 for k, v in extra.items()}
    given = api.merge(recipe(models, method, {}, **values))
    expected = tensors_of(api.export(given, tmp_path / "native"))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        # Masks are the same bits; the compiler may contract a product in another place.
        np.testing.assert_allclose(found[name], tensor, rtol=2e-6, atol=1e-7, err_msg=name)


def test_the_same_tensors_whatever_the_chunks_and_shards(models, tmp_path, monkeypatch):
    tree = {"merge_method": "linear", "models": entries(models, a={"weight": 1}, b={"weight": 2})}
    one = merged(tree, tmp_path / "one")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    monkeypatch.setattr(tensor_merge, "CHUNK", 100)
    many = merged(tree, tmp_path / "many", max_shard_size=20_000)
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == one.keys()
    assert len(set(index["weight_map"].values())) > 3
    assert load(tmp_path / "many").dtype == np.float32
    for name in one:
        np.testing.assert_array_equal(one[name], many[name])


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_tensors_may_begin_anywhere_in_a_file(tmp_path, monkeypatch, padding):
    """Writers pad headers to 8 bytes; the format does not ask for it."""
    monkeypatch.setattr(tensor_merge, "CHUNK", 100)
    checkpoints, kind = [], ml_dtypes.bfloat16
    for seed, name in enumerate("ab"):
        tensors = {k: v.astype(kind) for k, v in random_tensors(tiny_config(), seed).items()}
        checkpoints.append(write_checkpoint(tmp_path / name, tiny_config(), tensors=tensors))
        file = checkpoints[-1] / "model.safetensors"
        content = file.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = content[8 : 8 + length] + b" " * padding
        file.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    tree = {"merge_method": "linear", "models": [], "dtype": "bfloat16"}
    for checkpoint in checkpoints:
        tree["models"].append({"model": str(checkpoint), "parameters": {"weight": 0.5}})
    found = merged(tree, tmp_path / "out")
    a, b = (tensors_of(checkpoint) for checkpoint in checkpoints)
    for name in found:
        want = (0.5 * a[name].astype(np.float32) + 0.5 * b[name].astype(np.float32)).astype(kind)
        np.testing.assert_array_equal(found[name], want, err_msg=name)


SPARSE = {"weight": 0.7, "density": 0.4}
IN_PIECES = {
    "task_arithmetic": ({"weight": 0.7}, {}),
    "ties": (SPARSE, {"rescale": True}),
    "breadcrumbs": (SPARSE | {"gamma": 0.03}, {"rescale": True}),
    "della": (SPARSE, {}),
    "sce": ({}, {"select_topk": 0.3}),
    "ramplus_tl": ({}, {"epsilon": 0.02}),
    "arcee_fusion": ({}, {}),
    "model_stock": ({}, {"filter_wise": True}),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("method", IN_PIECES)
def test_the_same_tensors_whatever_the_pieces(models, tmp_path, monkeypatch, method):
    each, shared = IN_PIECES[method]
    names = "a" if method == "arcee_fusion" else "abc"
    tree = {
        "merge_method": method,
        "base_model": models["base"],
        "models": entries(models, **dict.fromkeys(names, each)),
        "parameters": shared,
    }
    one = merged(tree, tmp_path / "one")
    monkeypatch.setattr(tensor_merge, "CHUNK", 100)
    monkeypatch.setattr(tensor_merge, "HELD", 0)
    monkeypatch.setattr(importlib.import_module("evojax_merge.operators.arcee_fusion"), "ROWS", 130)
    monkeypatch.setattr(on_file, "PIECE", 77)
    monkeypatch.setattr(gram, "CHUNK", 130)
    monkeypatch.setattr(on_file, "FEW", 50)
    many = merged(tree, tmp_path / "many")
    for name in one:
        # Sums over a tensor are rounded in another order.
        np.testing.assert_allclose(many[name], one[name], rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("kind", [np.float32, ml_dtypes.bfloat16])
def test_large_tensors_are_measured_where_they_lie(tmp_path, monkeypatch, kind):
    checkpoints = []
    for seed, name in enumerate(("base", "a", "b")):
        tensors = {k: v.astype(kind) for k, v in random_tensors(tiny_config(), seed).items()}
        checkpoints.append(write_checkpoint(tmp_path / name, tiny_config(), tensors=tensors))
    tree = {
        "merge_method": "model_stock",
        "base_model": str(checkpoints[0]),
        "models": [{"model": str(path)} for path in checkpoints],
        "out_dtype": "float32",
    }
    one = merged(tree, tmp_path / "one")
    measured = []
    products = inner_products.inner_products
    monkeypatch.setattr(gram, "inner_products", lambda *a: measured.append(1) or products(*a))
    monkeypatch.setattr(inner_products, "COUNT", 256)
    monkeypatch.setattr(inner_products, "LANES", 32)
    monkeypatch.setattr(gram, "LANES", 32)
    monkeypatch.setattr(gram, "LEAST", 300)
    monkeypatch.setattr(tensor_merge, "HELD", 0)
    many = merged(tree, tmp_path / "many")
    assert measured
    for name in one:
        np.testing.assert_allclose(many[name], one[name], rtol=1e-6, atol=1e-8, err_msg=name)


def test_a_stack_has_the_layers_asked_for(models, tmp_path):
    tree = {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": models["a"], "layer_range": [0, 2]}]},
            {"sources": [{"model": models["b"], "layer_range": [1, 3]}]},
        ],
    }
    found = merged(tree, tmp_path / "out")
    a, b = tensors_of(models["a"]), tensors_of(models["b"])
    name = "model.layers.{}.self_attn.q_proj.weight"
    for layer, (origin, own) in enumerate([(a, 0), (a, 1), (b, 1), (b, 2)]):
        np.testing.assert_array_equal(found[name.format(layer)], origin[name.format(own)])
    np.testing.assert_array_equal(
        found["model.embed_tokens.weight"], a["model.embed_tokens.weight"]
    )
    np.testing.assert_array_equal(found["lm_head.weight"], b["lm_head.weight"])
    assert load(tmp_path / "out").config.num_layers == 4


def test_nan_is_named_and_nothing_is_left(models, tmp_path):
    tensors = random_tensors(tiny_config(), 0)
    tensors["model.norm.weight"][3] = np.nan
    broken = write_checkpoint(tmp_path / "broken", tiny_config(), tensors=tensors)
    tree = {"merge_method": "passthrough", "models": [{"model": str(broken)}]}
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight holds NaN"):
        merged(tree, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


@pytest.mark.few(3)
@pytest.mark.parametrize("bad", [np.nan, pytest.param(-np.inf, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("method", "each", "shared"),
    [
        ("linear", {"weight": 0.0}, {}),
        ("slerp", {}, {"t": 0.0}),
        ("nuslerp", {"weight": 0.5}, {}),
        ("multislerp", {"weight": 0.5}, {}),
        ("karcher", {}, {}),
        ("model_stock", {}, {}),
        ("task_arithmetic", {"weight": 0.0}, {}),
        ("nearswap", {}, {"t": 0.0}),
        ("ties", {"weight": 0.5, "density": 0.5}, {}),
        ("dare_linear", {"weight": 0.5, "density": 0.5}, {}),
    ],
)
def test_what_is_not_finite_is_named_by_every_method(
    models, tmp_path, monkeypatch, method, each, shared, bad
):
    monkeypatch.setattr(tensor_merge, "CHUNK", 100)
    tensors = tensors_of(models["b"])
    name = "model.layers.1.mlp.down_proj.weight"
    tensors[name].flat[-1] = bad
    broken = write_checkpoint(tmp_path / "broken", tiny_config(), tensors=tensors)
    names = {"slerp": "a", "nuslerp": "a", "nearswap": ""}.get(method, "ac")
    given = {"broken": each} | {other: each and each | {"weight": 0.5} for other in names}
    tree = {
        "merge_method": method,
        "models": entries({**models, "broken": str(broken)}, **given),
        "parameters": shared,
    }
    if METHODS[method].base == "required":
        tree["base_model"] = models["base"]
    if METHODS[method].base == "first":
        tree["base_model"] = models["a"]
    with pytest.raises(CheckpointError, match=rf"broken: {re.escape(name)} holds NaN or infinity"):
        merged(tree, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


@pytest.mark.parametrize("bad", [pytest.param(np.nan, marks=pytest.mark.slow), np.inf])
@pytest.mark.parametrize(
    "method", ["model_stock", "task_arithmetic", "nearswap", "nuslerp", "multislerp"]
)
def test_a_base_that_is_not_finite_is_named(models, tmp_path, method, bad):
    tensors = tensors_of(models["base"])
    tensors["lm_head.weight"].flat[5] = bad
    broken = write_checkpoint(tmp_path / "broken", tiny_config(), tensors=tensors)
    each = {} if method in ("model_stock", "nearswap") else {"weight": 0.5}
    tree = {
        "merge_method": method,
        "base_model": str(broken),
        "models": entries(models, **dict.fromkeys("a" if method == "nearswap" else "ab", each)),
        "parameters": {"t": 0.5} if method == "nearswap" else {},
    }
    with pytest.raises(CheckpointError, match=r"broken: lm_head\.weight holds NaN or infinity"):
        merged(tree, tmp_path / "out")


def test_a_result_that_its_dtype_cannot_hold_is_named_and_nothing_is_left(tmp_path):
    tensors = random_tensors(tiny_config(), 0)
    tensors["model.norm.weight"][3] = 1e5
    large = write_checkpoint(tmp_path / "large", tiny_config(), tensors=tensors)
    tree = {"merge_method": "passthrough", "models": [{"model": str(large)}], "dtype": "float16"}
    with pytest.raises(CheckpointError, match=r"norm\.weight: the merge has numbers that float16"):
        merged(tree, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


def test_a_directory_that_holds_something_is_kept(models, tmp_path):
    save_file({"x": np.zeros(1)}, tmp_path / "kept.safetensors")
    tree = {"merge_method": "passthrough", "models": [{"model": models["a"]}]}
    with pytest.raises(CheckpointError, match="is not empty"):
        merged(tree, tmp_path)


@pytest.fixture
def speakers(tmp_path):
    """Two models of one origin, the second with other tokens in another order."""
    config = tiny_config(vocab_size=8)
    first = write_checkpoint(
        tmp_path / "first", config, seed=1, tokenizer=word_tokenizer(["a", "b", "c", "d"])
    )
    second = write_checkpoint(
        tmp_path / "second", config, seed=2, tokenizer=word_tokenizer(["c", "e", "b", "a"])
    )
    return str(first), str(second)


TABLE = "model.embed_tokens.weight"


def linear(speakers, **more):
    return {
        "merge_method": "linear",
        "models": [{"model": name, "parameters": {"weight": 1}} for name in speakers],
    } | more


def rows(directory):
    """Row of the table by token."""
    vocabulary = AutoTokenizer.from_pretrained(directory).get_vocab()
    table = tensors_of(directory)[TABLE]
    return {token: table[row] for token, row in vocabulary.items()}


@pytest.mark.parametrize("source", ["base", "union", "second"])
def test_tables_are_brought_to_one_vocabulary(speakers, tmp_path, source):
    first, second = (rows(path) for path in speakers)
    chosen = speakers[1] if source == "second" else source
    out = tmp_path / "out"
    merged(linear(speakers, tokenizer_source=chosen), out)
    found = rows(out)
    special = {"<pad>", "<s>", "</s>", "<unk>"}
    wanted = {"base": "abcd", "union": "abcde", "second": "abce"}[source]
    assert found.keys() == special | set(wanted)
    for token, row in found.items():
        held = [table[token] for table in (first, second) if token in table]
        # A token that one model lacks takes the other's row.
        np.testing.assert_allclose(row, np.mean(held, axis=0), rtol=1e-6, err_msg=token)


def test_a_model_without_a_tokenizer_has_that_of_the_donor_or_is_refused(speakers, tmp_path):
    bare = write_checkpoint(tmp_path / "bare", tiny_config(vocab_size=8), seed=3)
    with pytest.warns(UserWarning, match="carries no tokenizer: it is taken to be that of"):
        found = merged(linear((speakers[0], str(bare)), tokenizer_source="base"), tmp_path / "out")
    held = [tensors_of(path)[TABLE] for path in (speakers[0], bare)]
    np.testing.assert_allclose(found[TABLE], np.mean(held, axis=0), rtol=1e-6)
    small = write_checkpoint(tmp_path / "small", tiny_config(vocab_size=5), seed=3)
    with pytest.raises(ExchangeError, match="its tables have 5 rows, fewer than"):
        merged(linear((speakers[0], str(small)), tokenizer_source="base"), tmp_path / "none")


def test_padding_and_chat_template(speakers, tmp_path):
    out = tmp_path / "out"
    choice = {"source": "base", "pad_to_multiple_of": 16}
    found = merged(linear(speakers, tokenizer=choice, chat_template="chatml"), out)
    assert len(found[TABLE]) == json.loads((out / "config.json").read_text())["vocab_size"] == 16
    mean = found[TABLE][:8].mean(axis=0)
    np.testing.assert_allclose(found[TABLE][8:], np.tile(mean, (8, 1)), rtol=1e-5, atol=1e-7)
    text = AutoTokenizer.from_pretrained(out).apply_chat_template(
        [{"role": "user", "content": "a"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("multiple", [0, -8, 10**9])
def test_padding_has_bounds(speakers, multiple):
    """Of a number that is too large, the disk would be full of rows."""
    with pytest.raises(ExchangeError, match=rf"pad_to_multiple_of: {multiple} must be"):
        plan_of(linear(speakers, tokenizer={"pad_to_multiple_of": multiple}))


def test_layers_have_bounds(models):
    part = {"sources": [{"model": models["a"], "layer_range": [0, 1]}]}
    with pytest.raises(ExchangeError, match=r"a model of 10,001 layers; give at most 10,000"):
        plan_of({"merge_method": "passthrough", "slices": [part] * 10_001})


def test_the_plan_reads_no_weights(models, monkeypatch):
    monkeypatch.setattr(tensor_merge.Reader, "open", None)
    assert plan_of({"merge_method": "passthrough", "models": [{"model": models["a"]}]}).jobs


def test_a_source_that_is_the_base_is_named(models, tmp_path):
    half = random_tensors(tiny_config(), 0, ml_dtypes.bfloat16)
    whole = {name: tensor.astype(np.float32) for name, tensor in half.items()}
    base = write_checkpoint(tmp_path / "base", tiny_config(), tensors=whole, shards=2)
    copy = write_checkpoint(tmp_path / "copy", tiny_config(), tensors=half)
    given = {"weight": 1.0}
    tree = {
        "merge_method": "ties",
        "base_model": str(base),
        "models": [*entries(models, a=given), {"model": str(copy), "parameters": given}],
    }
    with pytest.raises(ExchangeError, match="copy is the base in every tensor"):
        merged(tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    merged(
        {k: v for k, v in tree.items() if k != "base_model"} | {"merge_method": "linear"},
        tmp_path / "out",
    )
