"""The paper's problem: scikit-learn's digits and a network whose parameters are one vector.

As in the code published with arXiv 2508.16204: the first 80 % of the images train and the rest
tests (by other writers, so that it is harder than a random part), pixels from 0 to 16.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from sklearn import datasets

from evojax_merge.params.types import Array, Float, Genotype, Int

PIXELS, HIDDEN, CLASSES = 64, 256, 10
DIMS = (PIXELS + 1) * HIDDEN + (HIDDEN + 1) * CLASSES
INITIAL_DEVIATION = 0.01
TRAINING_SHARE = 0.8
LEARNING_RATE, STEPS = 3e-3, 10


class Digits(NamedTuple):
    """Images and what they show."""

    images: Float[Array, "items pixels"]
    labels: Int[Array, " items"]


@functools.cache
def load() -> tuple[Digits, Digits]:
    """The training and the test images."""
    images, labels = datasets.load_digits(return_X_y=True)
    count = int(len(images) * TRAINING_SHARE)
    whole = Digits(jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32))
    return Digits(*(part[:count] for part in whole)), Digits(*(part[count:] for part in whole))


def logits(genotype: Genotype, images: Float[Array, "items pixels"]) -> Float[Array, "items 10"]:
    """One hidden layer of 256; genes in the order hidden weights [in, out], biases, output's."""
    ends = [PIXELS * HIDDEN, (PIXELS + 1) * HIDDEN, DIMS - CLASSES]
    hidden, hidden_bias, out, out_bias = jnp.split(genotype, ends)
    activity = jax.nn.relu(images @ hidden.reshape(PIXELS, HIDDEN) + hidden_bias)
    return activity @ out.reshape(HIDDEN, CLASSES) + out_bias


def right(genotype: Genotype, digits: Digits) -> Float[Array, " items"]:
    """1 for each image that is told, 0 for the others."""
    return (logits(genotype, digits.images).argmax(axis=1) == digits.labels).astype(jnp.float32)


def train(genotype: Genotype, digits: Digits) -> Genotype:
    """Adam on all images at once."""
    optimizer = optax.adam(LEARNING_RATE)

    def loss(genotype: Genotype) -> Array:
        predicted = logits(genotype, digits.images)
        return optax.softmax_cross_entropy_with_integer_labels(predicted, digits.labels).mean()

    def step(carry: tuple[Genotype, optax.OptState], _: None) -> tuple[tuple, None]:
        genotype, state = carry
        updates, state = optimizer.update(jax.grad(loss)(genotype), state)
        return (optax.apply_updates(genotype, updates), state), None

    (genotype, _), _ = jax.lax.scan(step, (genotype, optimizer.init(genotype)), length=STEPS)
    return genotype


def pretrained(seed: int = 42) -> Float[Array, "2 dims"]:
    """Two networks with starts of their own, one trained on the digits 0 to 4, one on 5 to 9.

    Seed 42 gives the paper's pair. It matters: what lies between two such networks differs more
    from pair to pair than from method to method.
    """
    digits, _ = load()
    with jax.threefry_partitionable(False):  # random numbers as in the jax of the published code
        keys = jax.random.split(jax.random.PRNGKey(seed))
        starts = [INITIAL_DEVIATION * jax.random.normal(key, (DIMS,)) for key in keys]
    low = digits.labels < 5
    halves = [Digits(digits.images[half], digits.labels[half]) for half in (low, ~low)]
    return jnp.stack([train(start, half) for start, half in zip(starts, halves, strict=True)])
