"""Train the sources of the digits experiment: one network knows 0–4, the other 5–9.

    python experiments/digits/make_sources.py

Both start from the same random network (the base), and each sees only its own half of the classes
of the training split, for a few steps: a classifier of all ten digits exists only as their merge.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import save_file

from evojax_merge.fitness import load_digits
from evojax_merge.models import family_of
from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Params

HF_CONFIG = {"model_type": "mlp", "hidden_sizes": [64, 256, 10]}
HALVES = {"low": range(5), "high": range(5, 10)}
SEED = 0
STEPS = 30
LEARNING_RATE = 3e-3
FAMILY = family_of(HF_CONFIG)
CONFIG = FAMILY.config_from_hf(HF_CONFIG)


def train(params: Params, inputs: np.ndarray, labels: np.ndarray) -> Params:
    """Adam on the whole batch."""
    optimizer = optax.adam(LEARNING_RATE)

    def loss(params: Params) -> jax.Array:
        logits = FAMILY.forward(CONFIG, params, inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def step(params: Params, state: optax.OptState) -> tuple[Params, optax.OptState]:
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(STEPS):
        params, state = step(params, state)
    return params


def save(params: Params, directory: Path) -> None:
    """Write a checkpoint directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(HF_CONFIG, indent=1) + "\n")
    tensors = {name: np.asarray(leaf) for name, leaf in flatten(params).items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sources")
    out = parser.parse_args().out
    base = FAMILY.init_params(CONFIG, jax.random.key(SEED))
    save(base, out / "base")
    for name, digits in HALVES.items():
        examples = load_digits(classes=digits)["train"]
        trained = train(base, examples.inputs, jnp.asarray(examples.labels))
        save(trained, out / name)
        logits = FAMILY.forward(CONFIG, trained, examples.inputs)
        accuracy = float((logits.argmax(-1) == examples.labels).mean())
        print(f"{name}: {accuracy:.3f} on its own half of the training split")


if __name__ == "__main__":
    main()
