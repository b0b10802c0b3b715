"""Every key, method and parameter of mergekit's own schema is understood here, or refused by name.

What a new version of mergekit adds has no example below, and fails.
"""

from typing import Optional

import pytest
import yaml

from evojax_merge.exchange import ExchangeError, parse_configuration
from evojax_merge.exchange.knowledge import PARTS
from evojax_merge.exchange.methods import METHODS, REQUIRED

pytestmark = pytest.mark.parity

MODEL = "owner/a"
SOURCE = {"model": MODEL, "layer_range": [0, 2]}
SLICE = {"sources": [SOURCE]}
STACK = {"merge_method": "passthrough", "slices": [SLICE]}
SETTING = {"filter": "mlp", "value": 1.0}
BODY = {"default": {"slices": [SLICE]}}


def without(tree, *keys):
    return {key: value for key, value in tree.items() if key not in keys}


def root(**keys):
    return without(STACK, *({"slices"} if keys.keys() & {"models", "modules"} else ())) | keys


def sliced(**keys):
    return root(slices=[SLICE | keys])


def sourced(**keys):
    return sliced(sources=[SOURCE | keys])


def module(**keys):
    return root(modules={"default": ({} if "models" in keys else BODY["default"]) | keys})


def referred(**keys):
    return sourced(model={"model": {"path": MODEL}} | keys)


def tokenized(**keys):
    return root(tokenizer={"source": "base"} | keys)


def entered(**keys):
    return root(models=[{"model": MODEL} | keys])


def from_token(keys):
    named = {"kind": "model_token", "model": MODEL} | keys
    return named if "token_id" in named else {"token": "</s>"} | named


SCALE = {"scale": 1.0}
CLASSES = {
    "mergekit.config.MergeConfiguration": (
        root,
        {
            "modules": BODY,
            "slices": [SLICE],
            "models": [{"model": MODEL}],
            "merge_method": "linear",
            "base_model": MODEL,
            "dtype": "float32",
            "tokenizer_source": "union",
            "tokenizer": {"source": "base"},
            "chat_template": "auto",
            "out_dtype": "bfloat16",
            "parameters": SCALE,
        },
    ),
    "mergekit.config.OutputModuleDefinition": (
        module,
        {"slices": [SLICE], "models": [{"model": MODEL}], "parameters": SCALE},
    ),
    "mergekit.config.OutputSliceDefinition": (
        sliced,
        {"sources": [SOURCE], "base_model": MODEL, "residual_weight": 0.5, "parameters": SCALE},
    ),
    "mergekit.config.InputSliceDefinition": (
        sourced,
        {"model": MODEL, "layer_range": [0, 1], "parameters": SCALE},
    ),
    "mergekit.config.InputModelDefinition": (entered, {"model": MODEL, "parameters": SCALE}),
    "mergekit.config.ConditionalParameter": (
        lambda **keys: sourced(parameters={"scale": [SETTING | keys]}),
        {"value": [0.1, 0.9], "filter": "q_proj"},
    ),
    "mergekit.common.ModelReference": (
        referred,
        {"model": {"path": MODEL}, "lora": {"path": MODEL}, "override_architecture": "X"},
    ),
    "mergekit.common.ModelPath": (
        lambda **keys: referred(model={"path": MODEL} | keys),
        {"path": MODEL, "revision": "main"},
    ),
    "mergekit.tokenizer.config.TokenizerConfig": (
        tokenized,
        {"source": "union", "tokens": {"<s>": {"source": MODEL}}, "pad_to_multiple_of": 8},
    ),
    "mergekit.tokenizer.config.TokenEmbeddingConfig": (
        lambda **keys: tokenized(tokens={"<s>": {"source": MODEL} | keys}),
        {"source": MODEL, "force": True},
    ),
    "mergekit.tokenizer.config.ModelTokenEmbedding": (
        lambda **keys: tokenized(tokens={"<s>": {"source": from_token(keys)}}),
        {"kind": "model_token", "model": MODEL, "token_id": 3, "token": "</s>"},
    ),
    "mergekit.tokenizer.config.ZeroEmbedding": (
        lambda **keys: tokenized(tokens={"<s>": {"source": {"kind": "zero"} | keys}}),
        {"kind": "zero"},
    ),
}
REFUSED = {"override_architecture"}


def mergekit(path):
    """A class of mergekit by its full name."""
    import importlib

    place, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(place), name)
    except ImportError as error:
        pytest.fail(f"mergekit 0.1.5 cannot be imported ({error}): run `make parity`")


@pytest.mark.parametrize("path", CLASSES)
def test_every_key_is_read_or_refused_by_name(path):
    around, examples = CLASSES[path]
    fields = mergekit(path).model_fields
    assert fields.keys() == examples.keys()
    for key, example in examples.items():
        text = yaml.safe_dump(around(**{key: example}))
        if key not in REFUSED:
            parse_configuration(text)
            continue
        with pytest.raises(ExchangeError, match=rf"\.{key}: ") as error:
            parse_configuration(text)
        assert "unknown key" not in str(error.value)


def test_no_class_of_the_schema_is_missing():
    from pydantic import BaseModel

    def reached(annotation):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return {annotation}.union(
                *(reached(field.annotation) for field in annotation.model_fields.values())
            )
        return set().union(*(reached(part) for part in getattr(annotation, "__args__", ())))

    found = reached(mergekit("mergekit.config.MergeConfiguration"))
    assert {c.__name__ for c in found} == {path.rpartition(".")[2] for path in CLASSES}


def test_every_method_has_the_parameters_and_defaults_of_mergekits():
    from mergekit.merge_methods.base import ParameterScope
    from mergekit.merge_methods.registry import registered_methods

    specs = {method.spec.name: method.spec for method in registered_methods()}
    assert specs.keys() == METHODS.keys()
    for name, spec in specs.items():
        ours = {parameter.name: parameter for parameter in METHODS[name].parameters}
        assert ours.keys() == {parameter.name for parameter in spec.parameters}, name
        for theirs in spec.parameters:
            parameter = ours[theirs.name]
            where = f"{name}.{theirs.name}"
            assert parameter.shared == (theirs.scope is ParameterScope.SHARED), where
            kinds = {"float": (float, Optional[float]), "int": (int,), "bool": (bool,)}  # noqa: UP045
            assert theirs.value_type in kinds[parameter.kind], where
            wanted = REQUIRED if theirs.required else theirs.default
            if wanted is None:  # passthrough's scale: left as it is
                wanted = 1.0
            assert parameter.default is wanted or parameter.default == wanted, where


def test_parts_of_tensors_names_are_those_of_mergekits_architectures():
    import importlib.resources
    import json
    import re

    def named(tree):
        if isinstance(tree, dict):
            own = [tree["name"]] if isinstance(tree.get("name"), str) else []
            more = [name for key in ("aliases", "tied_names") for name in tree.get(key) or ()]
            return own + more + [name for value in tree.values() for name in named(value)]
        return [name for value in tree for name in named(value)] if isinstance(tree, list) else []

    folder = importlib.resources.files("mergekit") / "_data" / "architectures"
    files = [path for path in folder.iterdir() if path.name.endswith(".json")]
    names = {name for path in files for name in named(json.loads(path.read_text()))}
    parts = {part for name in names for part in re.sub(r"\$\{.*?\}", "", name).split(".")}
    assert {part for part in parts if len(part.strip("_")) > 1} == PARTS
