"""Evidence is kept, used again where it fits, and refused by name where it does not."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from evojax_merge.fitness import DataError
from evojax_merge.operators import fisher, linear, regmean
from evojax_merge.sources.evidence import EvidenceError, collect, pinned, prepare

FACTORIES = [fisher, regmean]


def collected(operator, models, directory=None):
    said = []
    items = prepare(operator, models[0], len(models))
    names = [chr(ord("a") + index) for index in range(len(models))]
    return collect(operator, items, models, names, directory, said.append), said


@pytest.mark.slow
@pytest.mark.parametrize("factory", FACTORIES)
def test_it_is_used_again_from_disk_to_the_bit(factory, decoders, texts, tmp_path):
    first, said = collected(factory(texts), decoders, tmp_path / "evidence")
    assert len(said) == 2
    assert "evidence of a on the 5 items of" in said[0]
    again, said = collected(factory(texts), decoders, tmp_path / "evidence")
    assert said == []
    for one, other in zip(first, again, strict=True):
        assert one.keys() == other.keys()
        for path, leaf in one.items():
            np.testing.assert_array_equal(leaf, other[path])
    account = json.loads(next((tmp_path / "evidence").glob("*-0.json")).read_text())
    assert account["source"] == "a"
    assert {"weights_sha256", "items_sha256", "data_sha256", "values_sha256"} <= account.keys()
    assert not [path for path in (tmp_path / "evidence").iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_what_was_interrupted_is_collected_again(decoders, texts, tmp_path):
    collected(fisher(texts), decoders, tmp_path)
    (tmp_path / "fisher-1.json").unlink()
    assert len(collected(fisher(texts), decoders, tmp_path)[1]) == 1


@pytest.mark.slow
def test_evidence_of_other_weights_or_items_is_refused(decoders, texts, tmp_path):
    collected(fisher(texts), decoders, tmp_path)
    with pytest.raises(EvidenceError, match=r"fisher-0.*something else: weights_sha256.*delete"):
        collected(fisher(texts), decoders[::-1], tmp_path)
    with pytest.raises(EvidenceError, match=r"fisher-0.*something else: items_sha256"):
        collected(fisher(texts, limit=2), decoders, tmp_path)


def test_damaged_evidence_is_refused(decoders, texts, tmp_path):
    collected(fisher(texts), decoders, tmp_path)
    file = tmp_path / "fisher-0.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"oops")
    with pytest.raises(EvidenceError, match=r"fisher-0.safetensors: damaged .*delete"):
        collected(fisher(texts), decoders, tmp_path)
    for text in ("[" * 10_000, "{}", "[]", '{"format": 1, "format": 1}'):
        (tmp_path / "fisher-0.json").write_text(text)
        with pytest.raises(EvidenceError, match=r"fisher-0.safetensors: damaged .*delete"):
            collected(fisher(texts), decoders, tmp_path)


@pytest.mark.parametrize("factory", FACTORIES)
def test_each_source_may_have_its_own_data(factory, classifiers, table, tmp_path):
    data = np.load(table)
    other = str(tmp_path / "other.npz")
    np.savez(other, inputs=2 * data["inputs"], label=data["label"])
    together, _ = collected(factory([table, other]), classifiers)
    apart = [
        collected(factory(path), [model])[0][0]
        for path, model in zip([table, other], classifiers, strict=True)
    ]
    for one, same in zip(together, apart, strict=True):
        for path, leaf in one.items():
            np.testing.assert_array_equal(leaf, same[path])
    with pytest.raises(ValueError, match="lists 2 files for 3 sources"):
        prepare(factory([table, other]), classifiers[0], 3)


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_source_that_computes_no_numbers_is_named(factory, classifiers, table):
    params = jax.tree.map(np.asarray, classifiers[1].params)
    bias = params["fc1"]["bias"].copy()
    bias[0] = np.nan
    broken = {**params, "fc1": {**params["fc1"], "bias": bias}}
    models = [classifiers[0], type(classifiers[1])(**vars(classifiers[1]) | {"params": broken})]
    with pytest.raises(EvidenceError, match=r"source b: its (gradients|activations) .*NaN.* fc"):
        collected(factory(table), models)


def test_operators_without_evidence_need_nothing(decoders):
    assert prepare(linear(), decoders[0], 2) == ()
    assert collect(linear(), (), decoders, ["a", "b"]) is None
    assert pinned(()) == {}


def test_a_recipe_pins_the_data(decoders, texts):
    held = pinned(prepare(fisher(texts), decoders[0], 2))
    assert Path(held["data"]).is_absolute()
    operator = fisher(**held)
    prepare(operator, decoders[0], 2)
    with open(texts, "a") as file:
        file.write('{"text": "more"}\n')
    with pytest.raises(DataError, match=r"texts.jsonl: is not the data that the recipe was made"):
        prepare(operator, decoders[0], 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "is empty"),
        ('{"text": "a"}\n{"text": "b"\n', "line 2: malformed JSON"),
        ('{"text": "a"}\n{"txt": "b"}\n', r"line 2: no field 'text'.*Did you mean|line 2: no fi"),
        ('{"text": "a"}\n\n{"text": ""}\n', "line 3: field 'text' must be a text"),
        ('{"text": "a"}\n{"text": "%s"}\n' % ("x" * 60), r"line 2: the text needs \d+ tokens, and"),
    ],
)
def test_data_that_cannot_be_used_is_named(content, message, decoders, tmp_path):
    path = tmp_path / "bad.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        prepare(fisher(str(path)), decoders[0], 2)
    assert "bad.jsonl" in str(caught.value)


def test_a_table_that_does_not_fit_the_classifiers_is_named(classifiers, tmp_path):
    path = str(tmp_path / "bad.npz")
    np.savez(path, inputs=np.ones((2, 4)), label=[0, 1])
    with pytest.raises(DataError, match=r"bad.npz: the data has 4 features, and the models take 6"):
        prepare(fisher(path), classifiers[0], 2)
    np.savez(path, inputs=np.ones((2, 6)), label=[0, 7])
    with pytest.raises(DataError, match="class 7"):
        prepare(fisher(path), classifiers[0], 2)


@pytest.mark.slow
def test_bfloat16_models_give_float32_evidence(decoders, texts):
    model = dataclasses.replace(
        decoders[0], params=jax.tree.map(lambda leaf: leaf.astype("bfloat16"), decoders[0].params)
    )
    for factory in FACTORIES:
        (exact,), _ = collected(factory(texts), decoders[:1])
        (found,), _ = collected(factory(texts), [model])
        for path, leaf in found.items():
            assert leaf.dtype == np.float32
            assert np.linalg.norm(leaf - exact[path]) < 0.2 * np.linalg.norm(exact[path])
