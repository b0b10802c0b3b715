"""Train the sources of the digits_clip experiment: one CLIP, and three fine-tunes of it.

    python -m experiments.digits_clip.make_sources

The base learns a little of three tasks; each fine-tune goes on with one of them, and forgets some
of the others. All weights of both towers are trained.
"""

import argparse
import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import save_file

from evojax_merge.fitness import load_digits
from evojax_merge.fitness.digit_pictures import QUESTIONS, TEMPLATES, digit_pictures
from evojax_merge.fitness.pictures import PictureProcessor
from evojax_merge.fitness.zero_shot import prompts, tokenized
from evojax_merge.models import Family, family_of
from evojax_merge.models.clip.logits import logits
from evojax_merge.models.request import Pixels, Prompts
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Array, Params
from experiments.digits_clip import tokenizer

TASKS = {
    "upright": ("digit", "upright"),
    "turned": ("digit", "turned"),
    "parity": ("parity", "negative"),
}
"""Name of each fine-tune, and of what it is tuned for -> question and view."""

SIDE, PATCH = 8, 4
SEED = 0
BATCH = 96
BASE_STEPS, TUNE_STEPS = 15, 60
OPTIMIZER = optax.adam(2e-3)


class Data(NamedTuple):
    """The training items of a task."""

    pictures: np.ndarray
    pixels: Pixels
    words: Prompts
    labels: np.ndarray


def hf_config(vocabulary: int) -> dict[str, Any]:
    """A ``config.json`` as transformers writes it, of a CLIP with 130,000 parameters."""
    shared = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_attention_heads": 4}
    text = {
        **shared,
        "model_type": "clip_text_model",
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "projection_dim": 32,
        "vocab_size": vocabulary,
        "max_position_embeddings": tokenizer.LENGTH,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    vision = {
        **shared,
        "model_type": "clip_vision_model",
        "hidden_size": 48,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "projection_dim": 32,
        "num_channels": 3,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "dtype": "float32",
        "projection_dim": 32,
        "logit_scale_init_value": 2.6592,
        "text_config": text,
        "vision_config": vision,
    }


def write_files(directory: Path) -> None:
    """Everything of a checkpoint but its weights."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = [
        text
        for question, names in QUESTIONS.items()
        for own in prompts(names, TEMPLATES[question])
        for text in own
    ]
    made = tokenizer.train(texts)
    tokenizer.save(made, directory)
    _write(directory / "config.json", hf_config(len(made)))
    size = {"height": SIDE, "width": SIDE}
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": SIDE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": size,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    _write(directory / "preprocessor_config.json", settings)


def initial(family: Family, config: Any) -> Params:
    """Random parameters, of matrices with σ² = 1 / inputs: 0.02 is little for so few."""
    leaves = flatten(family.init_params(config, jax.random.key(SEED)))
    for path, leaf in family.layout(config).leaves.items():
        width = math.prod(leaf.shape[1 + leaf.stacked :])
        if path.endswith("weight") and leaf.group != "norm" and not leaf.token_table:
            leaves[path] = leaves[path] / (0.02 * math.sqrt(width))
    return unflatten(leaves)


def train(config: Any, params: Params, data: Mapping[str, Data], steps: int, seed: int) -> Params:
    """Adam on random items of each task in turn: the prompts of its classes against each other."""
    rng = np.random.default_rng(seed)
    state = OPTIMIZER.init(params)
    for number in range(steps):
        one = list(data.values())[number % len(data)]
        rows = rng.choice(len(one.labels), BATCH, replace=False)
        batch = one._replace(pictures=one.pictures[rows], labels=one.labels[rows])
        template = np.int32(rng.integers(one.words.tokens.shape[1]))
        params, state = step(config, params, state, batch, template)
    return params


@functools.partial(jax.jit, static_argnums=0)
def step(
    config: Any, params: Params, state: Any, item: Data, template: Array
) -> tuple[Params, Any]:
    """One step on items of a task, with the prompts of one template."""

    def loss(params: Params) -> Array:
        words = Prompts(jnp.take(jnp.asarray(item.words.tokens), template[None], axis=1))
        found = logits(config, params, item.pictures, item.pixels, words)
        return optax.softmax_cross_entropy_with_integer_labels(found, item.labels).mean()

    updates, state = OPTIMIZER.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sources")
    out = parser.parse_args().out
    for name in ("base", *TASKS):
        write_files(out / name)
    written = json.loads((out / "base" / "config.json").read_text())
    family = family_of(written)
    config = family.config_from_hf(written)
    data = {name: read(config, out / "base", *task) for name, task in TASKS.items()}
    start = initial(family, config)
    base = train(config, start, data, BASE_STEPS * len(data), SEED)
    for name in ("base", *TASKS):
        params = base
        if name in TASKS:
            params = train(config, base, {name: data[name]}, TUNE_STEPS, SEED + 1)
        leaves = flatten(params)
        tensors = {
            tensor: np.asarray(leaves[slot.path][... if slot.layer is None else slot.layer])
            for tensor, slot in family.layout(config).slots.items()
        }
        save_file(tensors, out / name / "model.safetensors", metadata={"format": "pt"})
        right = {task: accuracy(config, params, own) for task, own in data.items()}
        print(name, {task: round(value, 3) for task, value in right.items()}, flush=True)


def read(config: Any, directory: Path, question: str, view: str) -> Data:
    """The training items of a task, as the models read them."""
    examples = digit_pictures(load_digits()["train"], question, view)
    processor = PictureProcessor(directory, question)
    pictures = processor(examples.pictures, (3, SIDE, SIDE))
    made = SimpleNamespace(tokenizer=tokenizer.load(directory), directory=directory)
    texts = prompts(QUESTIONS[question], TEMPLATES[question])
    words = tokenized(texts, made, config.text, question)
    return Data(pictures, processor.pixels, words, examples.labels)


def accuracy(config: Any, params: Params, data: Data) -> float:
    """On the training items."""
    run = jax.jit(functools.partial(logits, config))
    found = run(params, data.pictures, data.pixels, data.words)
    return float((found.argmax(-1) == data.labels).mean())


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
