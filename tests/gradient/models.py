"""Tiny models, tasks and objectives that the tests of this folder share."""

import json

import jax
import jax.numpy as jnp

from evojax_merge.fitness import digits_task
from evojax_merge.gradient import Descendable, Slope
from evojax_merge.models.family import MLP
from tests.checkpoints_factory import byte_tokenizer, random_tensors, tiny_config, write_checkpoint


def classifiers():
    """Two classifiers of the digits, interpolated by one gene."""
    config = MLP.config_from_hf({"model_type": "mlp", "hidden_sizes": [64, 8, 10]})
    ends = [MLP.init_params(config, jax.random.key(seed)) for seed in range(2)]

    def merge_fn(ends, genotype):
        return jax.tree.map(lambda a, b: a + genotype[0] * (b - a), *ends)

    model = type("Model", (), {"config": config, "tokenizer": None})
    return Descendable(MLP, config, merge_fn, ends, digits_task().bind(model))


def write_decoders(folder):
    """A base and two noisy copies of it, with a tokenizer of bytes."""
    tokenizer = byte_tokenizer()
    config = tiny_config(vocab_size=len(tokenizer), num_hidden_layers=2)
    base = random_tensors(config, 0)
    for seed, name in enumerate(("base", "a", "b")):
        noise = random_tensors(config, seed)
        tensors = {key: base[key] + 0.2 * seed * noise[key] for key in base}
        write_checkpoint(folder / name, config, tensors=tensors, tokenizer=tokenizer)


def write_items(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


class Bowl:
    """A descent's objective that needs no model: the squared distance from an optimum."""

    def __init__(self, optimum):
        self.optimum = jnp.float32(optimum)

    def items(self, genotype):
        return jnp.square(genotype - self.optimum)

    def gradient(self, key, genotype):
        return Slope(2 * (genotype - self.optimum), 4)
