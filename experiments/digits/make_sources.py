"""Train the sources of the digits experiments, all from the same kind of random network.

    python -m experiments.digits.make_sources [--seed N] [--out DIR]

The halves (experiments ``digits_halves``, ``digits_m2n2``): one network knows 0–4, the other 5–9.
Each sees only its own half of the classes of the training split, for a few steps.

Those with habits (experiment ``digits``): five deeper networks each learn two digits in half of
their layers, and a bad habit in the other half: to take every other digit for the one that follows
it. Which layers hold which is drawn for each network.
"""

import argparse
import json
from collections.abc import Callable, Collection
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import save_file

from evojax_merge.fitness import load_digits
from evojax_merge.models import Family, family_of
from evojax_merge.params.tree import flatten
from evojax_merge.params.types import Array, Float, Params

FAMILY: Family = family_of({"model_type": "mlp"})
Loss = Callable[[Float[Array, "items classes"]], Float[Array, ""]]

HALVES = {"low": range(5), "high": range(5, 10)}
HALVES_CONFIG = {"model_type": "mlp", "hidden_sizes": [64, 256, 10]}
HALVES_STEPS, HALVES_RATE = 30, 3e-3

SKILLS = {
    "zero_one": (0, 1),
    "two_three": (2, 3),
    "four_five": (4, 5),
    "six_seven": (6, 7),
    "eight_nine": (8, 9),
}
HABITS_CONFIG = {"model_type": "mlp", "hidden_sizes": [64, 128, 128, 128, 128, 128, 10]}
HABITS_STEPS, HABITS_RATE = 60, 1e-3
HEAD = 0.5
"""The base's last layer is shrunk by it, so that its logits say little."""


def train(
    config: dict,
    params: Params,
    inputs: np.ndarray,
    loss: Loss,
    steps: int,
    rate: float,
    layers: Collection[str] | None = None,
) -> Params:
    """Adam on the whole batch, in some layers or in all, with a loss of the logits."""
    optimizer, mlp = optax.adam(rate), FAMILY.config_from_hf(config)
    moving = {name: float(layers is None or name in layers) for name in params}

    @jax.jit
    def step(params: Params, state: optax.OptState) -> tuple[Params, optax.OptState]:
        gradient = jax.grad(lambda params: loss(FAMILY.forward(mlp, params, inputs)))(params)
        updates, state = optimizer.update(gradient, state)
        updates = {n: jax.tree.map(lambda u, n=n: u * moving[n], updates[n]) for n in updates}
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params


def halves(seed: int, out: Path) -> None:
    """Write the base and its two halves."""
    mlp = FAMILY.config_from_hf(HALVES_CONFIG)
    base = FAMILY.init_params(mlp, jax.random.key(seed))
    save(base, HALVES_CONFIG, out / "base")
    for name, digits in HALVES.items():
        examples = load_digits(classes=digits)["train"]
        labels = jnp.asarray(examples.labels)

        def loss(logits: Array, labels: Array = labels) -> Array:
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        trained = train(HALVES_CONFIG, base, examples.inputs, loss, HALVES_STEPS, HALVES_RATE)
        save(trained, HALVES_CONFIG, out / name)
        logits = FAMILY.forward(mlp, trained, examples.inputs)
        accuracy = float((logits.argmax(-1) == examples.labels).mean())
        print(f"{name}: {accuracy:.3f} on its own half of the training split")


def habits(seed: int, out: Path) -> None:
    """Write the base and its five fine-tunes with habits.

    A skill adds 1 to the logit of the right digit where it is one of the network's own, and changes
    nothing elsewhere. The habit adds 1 to the logit of the digit that follows where it is not.
    """
    mlp = FAMILY.config_from_hf(HABITS_CONFIG)
    base = FAMILY.init_params(mlp, jax.random.key(seed))
    *_, head = sorted(base)
    base = base | {head: jax.tree.map(lambda leaf: leaf * HEAD, base[head])}
    save(base, HABITS_CONFIG, out / "base")
    examples = load_digits()["train"]
    inputs, labels = examples.inputs, examples.labels
    right, following = jax.nn.one_hot(labels, 10), jax.nn.one_hot((labels + 1) % 10, 10)
    rng = np.random.default_rng(seed)
    for name, digits in SKILLS.items():
        own = np.isin(labels, digits)[:, None]
        order = rng.permutation(sorted(base)).tolist()
        trained, half = base, len(order) // 2
        for layers, added in (
            (order[:half], jnp.where(own, right - 0.1, 0)),
            (order[half:], jnp.where(own, 0, following - 0.1)),
        ):
            target = FAMILY.forward(mlp, trained, inputs) + added

            def loss(logits: Array, target: Array = target) -> Array:
                return jnp.square(logits - target).mean()

            trained = train(HABITS_CONFIG, trained, inputs, loss, HABITS_STEPS, HABITS_RATE, layers)
        save(trained, HABITS_CONFIG, out / name)
        print(f"{name}: skill in {sorted(order[:half])}, habit in {sorted(order[half:])}")


def save(params: Params, config: dict, directory: Path) -> None:
    """Write a checkpoint directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {name: np.asarray(leaf) for name, leaf in flatten(params).items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sources")
    parser.add_argument("--seed", type=int, default=0, help="of the networks and of the layers")
    parser.add_argument("--only", choices=("halves", "habits"))
    options = parser.parse_args()
    if options.only != "habits":
        halves(options.seed, options.out)
    if options.only != "halves":
        habits(options.seed, options.out / "habits")


if __name__ == "__main__":
    main()
