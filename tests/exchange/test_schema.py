"""Reading a mergekit YAML: what is not known is refused by name."""

import pytest

from evojax_merge.exchange import ExchangeError, is_mergekit, load_configuration
from evojax_merge.exchange.configuration import TokenizerChoice
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
        ("model: two/wizard", "modl: two/wizard", r"unknown key models\[1\].modl"),
        ("model: two/wizard", "model: two/wizard+a+b", "one adapter on a model"),
        (
            "model: two/wizard",
            "model: {model: two/wizard, override_architecture: X}",
            "override_architecture: the model's own config.json decides",
        ),
        ("model: two/wizard", "model: {pth: two/wizard}", r"model.pth \(did you mean path\?\)"),
        ("dtype: float16", "dtype: int8", "dtype: 'int8' is not supported"),
        ("merge_method: ties", "merge_method: [ties]", r"unknown merge_method \['ties'\]"),
        ("dtype: float16", "dtype: float16\ndtype: float32", "the key 'dtype' is given twice"),
        ("density: 0.33", "weight: 1", "the key 'weight' is given twice"),
        (
            "parameters:\n  normalize: true\n  int8_mask: true",
            "parameters: []",
            "parameters: must be a mapping, is list",
        ),
        ("dtype: float16", "tokenizer: {tokens: []}", "tokenizer.tokens: must be a mapping"),
        ("dtype: float16", "tokenizer: {tokens: {a: {force: true}}}", "is forced to nothing"),
        ("dtype: float16", "tokenizer: {tokens: {a: {sorce: b}}}", r"a.sorce \(did you mean"),
        (
            "dtype: float16",
            "tokenizer: {tokens: {a: {source: {kind: x}}}}",
            "kind: 'x' is not known",
        ),
        (
            "dtype: float16",
            "tokenizer: {tokens: {a: {source: {kind: model_token, model: b/c}}}}",
            "needs either token or token_id",
        ),
        ("dtype: float16", "tokenizer: {}\ntokenizer_source: base", "has both tokenizer_source"),
        ("dtype: float16", 'chat_template: "{% for"', "chat_template: is no Jinja template"),
        ("dtype: float16", 'chat_template: "{{ x | trimm }}"', r"trimm \(did you mean trim\?\)"),
        ("dtype: float16", "chat_template: chatmll", r"'chatmll' \(did you mean chatml\?\)"),
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
        ("[0, 24]", "[0, 2.5]", r"layer_range\[1\]: 2.5 must be a whole number"),
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
    with pytest.raises(ExchangeError, match=r"none\.yml: missing"):
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


def test_an_empty_tokenizer_asks_for_what_mergekit_does_by_default():
    assert parse_configuration(TIES + "tokenizer: {}\n").tokenizer == TokenizerChoice("union")
    assert parse_configuration(TIES + "tokenizer: null\n").tokenizer is None


@pytest.mark.parametrize(
    "template", ["auto", "llama3", "{% generation %}{{ messages }}{% endgeneration %}"]
)
def test_templates_that_are_taken(template):
    assert parse_configuration(TIES + f'chat_template: "{template}"\n').chat_template == template


def test_a_template_is_not_run():
    parse_configuration(TIES + "chat_template: \"{{ 'a' * 10 ** 10 }}\"\n")


def test_an_adapter_is_named_behind_its_model(tmp_path):
    for name in ("a+b", "c"):
        (tmp_path / name).mkdir()
    found = parse_configuration(
        TIES.replace("two/wizard", "a+b+c").replace("one/orca_mini", "x/y@v1+z/w"), "it", tmp_path
    )
    adapted = {f"{tmp_path}/a+b+{tmp_path}/c": (f"{tmp_path}/a+b", f"{tmp_path}/c")}
    assert found.adapters == adapted | {"x/y@v1+z/w": ("x/y@v1", "z/w")}
    given = "{model: {path: two/wizard}, lora: {path: z/w}}"
    found = parse_configuration(TIES.replace("two/wizard", given))
    assert found.adapters == {"two/wizard+z/w": ("two/wizard", "z/w")}
