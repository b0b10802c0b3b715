"""Reading a mergekit YAML: what is not known is refused by name."""

import pytest

from evojax_merge.exchange import ExchangeError, is_mergekit, load_configuration
from evojax_merge.exchange.schema import parse_configuration

TIES = """
models:
  - model: one/orca_mini
    parameters:
      density: [1, 0.7, 0.1] # gradient
      weight: 1.0
  - model: two/wizard
    parameters:
      density: 0.33
      weight:
        - filter: mlp
          value: 0.5
        - value: 0
merge_method: ties
base_model: three/llama
parameters:
  normalize: true
  int8_mask: true
dtype: float16
"""

STACK = """
slices:
  - sources:
    - model: one/orca_mini
      layer_range: [0, 24]
  - sources:
    - model: two/platypus
      layer_range: [20, 40]
merge_method: passthrough
dtype: float16
"""


def test_a_ties_file_with_gradients_and_filters():
    found = parse_configuration(TIES)
    assert found.method.name == "ties"
    assert found.models == ("three/llama", "one/orca_mini", "two/wizard")
    (whole,) = found.slices
    assert [entry.model for entry in whole.sources][-1] == "three/llama"
    assert whole.sources[0].parameters["density"][0].values == (1, 0.7, 0.1)
    assert found.dtype == "float16"


def test_a_stack_of_layers():
    found = parse_configuration(STACK)
    assert [part.sources[0].layers for part in found.slices] == [(0, 24), (20, 40)]


def test_a_module_is_a_scope_of_its_own():
    body = "".join(f"    {line}\n" for line in STACK.split("merge_method")[0].splitlines())
    text = f"modules:\n  default:{body}    parameters:\n      scale: 2\nmerge_method: passthrough\n"
    found = parse_configuration(text)
    assert len(found.scopes) == 2
    assert found.scopes[0]["scale"][0].values == (2,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("merge_method: ties", "merge_methd: ties", r"key merge_methd \(did you mean merge_method"),
        ("merge_method: ties", "merge_method: tie", r"unknown merge_method 'tie' \(did you mean"),
        ("density: 0.33", "densty: 0.33", r"no parameter densty \(did you mean density\?\)"),
        ("density: 0.33", "gamma: 0.33", "ties has no parameter gamma"),
        ("density: 0.33", "lambda: 0.33", "is one for all models of ties"),
        ("model: two/wizard", "modl: two/wizard", r"unknown key models\[1\].modl"),
        ("model: two/wizard", "model: two/wizard+lora", "merge the adapter first"),
        ("model: two/wizard", "model: three/llama", "this is the base model"),
        ("dtype: float16", "dtype: int8", "dtype: 'int8' is not supported"),
        ("merge_method: ties", "merge_method: [ties]", r"unknown merge_method \['ties'\]"),
        ("dtype: float16", "dtype: float16\ndtype: float32", "the key 'dtype' is given twice"),
        ("density: 0.33", "weight: 1", "the key 'weight' is given twice"),
        (
            "parameters:\n  normalize: true\n  int8_mask: true",
            "parameters: []",
            "parameters: must be a mapping, is list",
        ),
        ("dtype: float16", "tokenizer: {source: base, tokens: {}}", "tokenizer.tokens: rows of"),
        ("dtype: float16", "slices: [1]", "exactly one of models, slices and modules"),
        ("  normalize: true", "  normalise: true", r"normalise \(did you mean normalize\?\)"),
    ],
)
def test_a_mistake_is_named_with_the_nearest_known_name(old, new, message):
    with pytest.raises(ExchangeError, match=message):
        parse_configuration(TIES.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0, 24]", "[0]", "two whole numbers"),
        ("[0, 24]", "[24, 0]", "must rise"),
        ("      layer_range: [0, 24]\n", "", "lacks layer_range"),
        ("  - sources:", "  - residual_weight: 1\n    sources:", "does nothing with it"),
    ],
)
def test_a_slice_is_checked(old, new, message):
    with pytest.raises(ExchangeError, match=message):
        parse_configuration(STACK.replace(old, new, 1))


def test_files_are_told_apart(tmp_path):
    (tmp_path / "a.yml").write_text(TIES)
    (tmp_path / "b.yml").write_text("evojax_merge: 1\noperator: x\n")
    assert is_mergekit(tmp_path / "a.yml")
    assert not is_mergekit(tmp_path / "b.yml")
    assert not is_mergekit(tmp_path / "none.yml")
    with pytest.raises(ExchangeError, match="cannot be read"):
        load_configuration(tmp_path / "none.yml")


def test_directories_may_be_relative_to_the_file(tmp_path):
    (tmp_path / "three" / "llama").mkdir(parents=True)
    (tmp_path / "a.yml").write_text(TIES)
    found = load_configuration(tmp_path / "a.yml")
    assert found.base_model == str(tmp_path / "three" / "llama")
    pinned = TIES.replace(
        "base_model: three/llama", "base_model: {path: three/llama, revision: v1}"
    )
    (tmp_path / "a.yml").write_text(pinned)
    with pytest.raises(ExchangeError, match=r"base_model\.revision: three/llama is a directory"):
        load_configuration(tmp_path / "a.yml")
