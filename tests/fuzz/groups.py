"""What is fuzzed: for each kind of input, how one is made, and what reads it.

A reader returns a word for what it made of the input. It may raise what `evojax_merge.cli.main`
turns into one line, and nothing else; and what it accepts it has read rightly.
"""

import json
import math
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from evojax_merge import api
from evojax_merge.checkpoints import load, load_adapter_config, load_config
from evojax_merge.checkpoints.tokenizers import load_tokenizer
from evojax_merge.config import build, compose, load_config_file
from evojax_merge.exchange import apply_mergekit
from evojax_merge.fitness import GenerationTask, MultipleChoiceTask, PerplexityTask
from evojax_merge.fitness.chat import as_chats
from evojax_merge.fitness.classification import read_examples
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.params.tree import flatten
from evojax_merge.recipes.path import load_recipe
from evojax_merge.runs.preparation import set_up
from tests.checkpoints_factory import (
    byte_tokenizer,
)
from tests.fuzz import mutate
from tests.fuzz.valid import PATHS, Valid, base_of


class WrongError(Exception):
    """An input was accepted and read wrongly."""


Read = Callable[[], str]


def safetensors(rng: random.Random, valid: Valid, folder: Path) -> Read:
    directory = mutate.copied(valid.plain, folder / "model")
    path = directory / "model.safetensors"
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    kind = rng.randrange(10)
    if kind < 5:
        text = mutate.as_json(rng, header)
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    elif kind == 5:
        length = rng.choice([0, 1, size - 1, size + 1, 2**31, 2**63, 2**64 - 1])
        path.write_bytes(struct.pack("<Q", length) + content[8:])
    elif kind < 8:
        path.write_bytes(mutate.text_of(rng, content))
    elif kind == 8:
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
    else:
        mutate.file(rng, path)

    def read() -> str:
        model = load(directory)
        wanted, slots = load_file(path), model.family.layout(model.config).slots
        leaves = flatten(model.params)
        for name, slot in slots.items():
            leaf = np.asarray(leaves[slot.path])
            own = leaf if slot.layer is None else leaf[slot.layer]
            if not np.array_equal(own, wanted[name].astype(own.dtype), equal_nan=True):
                raise WrongError(f"{name} is not what the file holds")
        return "read"

    return read


def config(rng: random.Random, valid: Valid, folder: Path) -> Read:
    name = rng.choice(list(valid.configs))
    directory = mutate.copied(valid.folder / "configs" / name, folder / "model")
    path = directory / "config.json"
    written = valid.configs[name]
    if rng.random() < 0.95:
        changed = dict(written)
        if rng.random() < 0.5:  # one of the keys that mean something
            changed[rng.choice(list(changed))] = mutate.value(rng)
            path.write_text(mutate.json_of(changed))
        else:
            path.write_bytes(mutate.as_json(rng, written))
    else:
        mutate.file(rng, path)

    def read() -> str:
        config = load_config(directory).config
        for key, number in vars(config).items():
            _check_number(key, number)
        for key, number in vars(getattr(config, "rope", object)).items():
            if not key.startswith("_"):
                _check_number(key, number, least=0)
        return "read"

    return read


def _check_number(key: str, given: Any, least: float = 1e-30) -> None:
    for number in given if isinstance(given, tuple) else (given,):
        if isinstance(number, bool | str | None) or not isinstance(number, int | float):
            continue
        if not (math.isfinite(number) and number >= least):
            raise WrongError(f"{key} is {number!r}")


def index(rng: random.Random, valid: Valid, folder: Path) -> Read:
    directory = mutate.copied(valid.sharded, folder / "model")
    path = directory / "model.safetensors.index.json"
    if rng.random() < 0.1:
        mutate.file(rng, rng.choice([path, directory / "model-00002-of-00003.safetensors"]))
    else:
        path.write_bytes(mutate.as_json(rng, json.loads(path.read_text())))

    def read() -> str:
        load_config(directory)
        return "read"

    return read


def tokenizer(rng: random.Random, valid: Valid, folder: Path) -> Read:
    directory = mutate.copied(valid.family["base"], folder / "model")
    name = rng.choice(["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
    path = directory / name
    config = directory / "tokenizer_config.json"
    written = json.loads(path.read_text()) if path.exists() else {"bos_token": "<s>"}
    if rng.random() < 0.1:
        mutate.file(rng, path)
    elif rng.random() < 0.3:
        extra = {"added_tokens_decoder": {"3": {"content": "x"}}, "chat_template": "{{ x }}"}
        extra |= {"model_max_length": 9, "add_bos_token": True, "extra_special_tokens": ["<x>"]}
        path.write_bytes(mutate.as_json(rng, written | extra) if path == config else b"{}")
    else:
        path.write_bytes(mutate.as_json(rng, written))

    def read() -> str:
        found = load_tokenizer(directory)
        if found is None:
            return "none"
        found.get_vocab()
        model = type("Model", (), {"tokenizer": found, "config": None, "directory": directory})()
        Encoder(model, "fuzz")(["one two", "数"])
        return "read"

    return read


ITEMS = [
    {"question": "1 + 1 = ?", "answer": 2, "choices": ["a", "b"], "text": "x y"},
    {"question": "2 + 1 = ?", "answer": 1, "choices": ["b", "c"], "text": "z"},
]


def jsonl(rng: random.Random, valid: Valid, folder: Path) -> Read:
    path = folder / "items.jsonl"
    lines = [json.dumps(item).encode() for item in ITEMS]
    lines[rng.randrange(2)] = mutate.as_json(rng, rng.choice(ITEMS)).replace(b"\n", b" ")
    path.write_bytes(b"\n".join(lines))
    if rng.random() < 0.05:
        mutate.file(rng, path)
    made, given = rng.choice(
        [
            (GenerationTask, {"max_new_tokens": 4, "template": "{question}", "stop": ["x"]}),
            (GenerationTask, {"extract": "exact", "buckets": 2, "prefix": "p", "limit": 1}),
            (GenerationTask, {"reference_text": "{answer}", "language": "ja", "slots": 2}),
            (
                MultipleChoiceTask,
                {"template": "{question}", "normalize": "none", "choices": "choices"},
            ),
            (PerplexityTask, {"text": "text", "template": "{question}", "length": 8}),
        ]
    )
    if rng.random() < 0.4:
        given = mutate.tree(rng, given)
    if not isinstance(given, dict) or not all(key in made.__dataclass_fields__ for key in given):
        given = {}

    def read() -> str:
        made(data=str(path), **given).bind(valid.model)
        return "read"

    return read


def features(rng: random.Random, valid: Valid, folder: Path) -> Read:
    table = rng.random() < 0.4
    path = folder / ("items.csv" if table else "items.npz")
    if table:
        path.write_text("a,b,label\n1,2.5,0\n3,4,1\n")
    else:
        odd = [np.array([[1, np.nan]] * 2), np.array(["x", "y"]), np.array(3), np.zeros((2, 0))]
        odd += [np.full((2, 3), 1e300), np.array([[1], [2]], object), np.zeros((0, 3)), np.ones(2)]
        given = {"inputs": np.ones((2, 3)), "label": np.array([0, 1])}
        if rng.random() < 0.5:
            given[rng.choice(["inputs", "label"])] = rng.choice(odd)
        np.savez(path, **given)
    if rng.random() < 0.7:
        path.write_bytes(mutate.text_of(rng, path.read_bytes()))
    elif rng.random() < 0.2:
        mutate.file(rng, path)

    def read() -> str:
        inputs, labels = read_examples(str(path))
        if not np.isfinite(inputs).all() or labels.min() < 0:
            raise WrongError("features or labels that mean nothing")
        return "read"

    return read


def recipe(rng: random.Random, valid: Valid, folder: Path) -> Read:
    path = folder / "recipe.yaml"
    flow = rng.random() < 0.25
    path.write_bytes(mutate.as_yaml(rng, valid.path_recipe if flow else valid.recipe))
    if rng.random() < 0.03:
        mutate.file(rng, path)
    whole = rng.random() < 0.1

    def read() -> str:
        if whole or flow:
            load_recipe(path)
        if flow:
            return "read"
        model = api.merge(path)
        if not all(np.isfinite(leaf).all() for leaf in flatten(model.params).values()):
            raise WrongError("the merge is not finite")
        return "merged"

    return read


def mergekit(rng: random.Random, valid: Valid, folder: Path) -> Read:
    family = {name: str(path) for name, path in valid.family.items()}
    weighted = [
        {"model": family[name], "parameters": {"weight": 0.5, "density": 0.5}}
        for name in ("a", "b")
    ]
    slices = [
        {"sources": [{"model": family["a"], "layer_range": [0, 1]}]},
        {"sources": [{"model": family["b"], "layer_range": [1, 2]}]},
    ]
    given = rng.choice(
        [
            {"merge_method": "linear", "models": weighted, "dtype": "float32"},
            {
                "merge_method": "ties",
                "base_model": family["base"],
                "models": weighted,
                "parameters": {"normalize": True},
                "tokenizer_source": "base",
            },
            {"merge_method": "passthrough", "slices": slices, "dtype": "float32"},
        ]
    )
    path = folder / "merge.yml"
    path.write_bytes(mutate.as_yaml(rng, given))
    if rng.random() < 0.03:
        mutate.file(rng, path)

    def read() -> str:
        apply_mergekit(path, folder / "out")
        load_config(folder / "out")
        return "merged"

    return read


def overrides(rng: random.Random, valid: Valid, folder: Path) -> Read:
    key, chosen = rng.choice(valid.keys)
    texts = [
        "nan",
        "inf",
        "-1",
        "0",
        "1.5",
        "1e20",
        "x",
        "true",
        "null",
        "[]",
        "{}",
        "[1]",
        "{1: 2}",
    ]
    texts += [
        "1000000000",
        "''",
        "2.0",
        "{a: {b: c}}",
        "[x,1.5]",
        str(10**30),
        "~nobody_of_this_name",
    ]
    texts += ["${seed}", "{_target_: os.system}", "[[[]]]", "5"]
    given = [*chosen, *(f"{key}={rng.choice(texts)}" for _ in range(rng.choice([1, 1, 2])))]
    if rng.random() < 0.1:
        given[-1] = mutate.text_of(rng, given[-1].encode()).decode(errors="replace")

    given = [*base_of(given[0]), *given]
    if given[1] in PATHS:
        items = folder / "items.jsonl"
        items.write_text(json.dumps(ITEMS[0]) + "\n")
        names = ",".join(str(valid.family[name]) for name in ("a", "b"))
        given = ["fitness=perplexity", f"fitness.data={items}", f"model.sources=[{names}]", *given]
        given = [f"model.base={valid.family['base']}", *given]

    def read() -> str:
        set_up(build(compose(given)))
        return "accepted"

    return read


def adapter(rng: random.Random, valid: Valid, folder: Path) -> Read:
    directory = mutate.copied(valid.adapter, folder / "adapter")
    path = directory / "adapter_config.json"
    written = json.loads(path.read_text())
    written |= {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"down_proj": 8.0}}
    if rng.random() < 0.07:
        mutate.file(rng, rng.choice([path, directory / "adapter_model.safetensors"]))
    else:
        path.write_bytes(mutate.as_json(rng, written))

    def read() -> str:
        for pair in load_adapter_config(directory, valid.base).pairs:
            _check_number("scale", pair.scale)
        return "read"

    return read


def run(rng: random.Random, valid: Valid, folder: Path) -> Read:
    path = folder / "config.yaml"
    path.write_bytes(mutate.as_yaml(rng, valid.run))
    if rng.random() < 0.03:
        mutate.file(rng, path)

    def read() -> str:
        set_up(build(load_config_file(path)))
        return "accepted"

    return read


def chat(rng: random.Random, valid: Valid, folder: Path) -> Read:
    parts = [
        *(
            "{{ messages[0].content }}",
            "{{ 'a' * 10**9 }}",
            "{% for",
            "{{ x.y.z }}",
            "{{ 1 // 0 }}",
        ),
        *("{% for m in messages %}", "{% endfor %}", "{{ ''.__class__.__mro__ }}", "text\n"),
        *("{{ messages | tojson }}", "{% set x = x ~ x %}", "{{ raise_exception('\x1b') }}"),
        *(
            "{{ range(10**6) | list }}",
            "{{ cycler.__init__.__globals__ }}",
            "{{ '%9999999999d' % 1 }}",
        ),
    ]
    template = "".join(rng.choice(parts) for _ in range(rng.randrange(1, 4)))
    speaker = byte_tokenizer()
    speaker.chat_template = template

    def read() -> str:
        as_chats(speaker, ["a", "b"], folder)
        return "rendered"

    return read


ALL: dict[str, Callable[[random.Random, Valid, Path], Read]] = {
    made.__name__: made
    for made in (
        safetensors,
        config,
        index,
        tokenizer,
        jsonl,
        features,
        recipe,
        mergekit,
        overrides,
        adapter,
        run,
        chat,
    )
}
