"""Teaching the tower to see, in place of CLIP's pretraining: which digit, and which colour."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from evojax_merge.models.llava import modeling as llava
from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.models.request import Pixels
from evojax_merge.models.seeing.config import TOWER
from evojax_merge.params.types import Array, Float, Int, Params, UInt8
from experiments.vision import world
from experiments.vision.batches import channels_first
from experiments.vision.train import Stage, fit
from experiments.vision.words import COLOURS, Split

PROBE = "probe"
BATCH = 64
CLASSES = (11, len(COLOURS) + 1)
"""Digits, colours, and nothing."""


class Labelled(NamedTuple):
    """Pictures, and the digit and the colour of each half."""

    pictures: UInt8[np.ndarray, "batch channels height width"]
    labels: Int[np.ndarray, "batch half two"]


def labelled(seed: int, split: Split, count: int) -> Iterator[Labelled]:
    """Endless batches of pictures of random scenes."""
    rng = np.random.default_rng(seed)
    while True:
        scenes = [world.scene(rng) for _ in range(count)]
        labels = np.tile(np.int32(CLASSES) - 1, (count, 2, 1))
        for row, scene in enumerate(scenes):
            for shown in scene:
                labels[row, shown.half] = shown.digit, shown.colour
        drawn = channels_first([world.draw(rng, scene, split) for scene in scenes])
        yield Labelled(drawn, labels)


def probed(
    config: LlavaConfig, pixels: Pixels, params: Params, batch: Labelled
) -> list[Float[Array, "batch half classes"]]:
    """Compute the logits of digits and of colours, by a linear probe of the mean of each half."""
    scale, shift = (channel[:, None, None] for channel in pixels)
    states = llava.tower_states(config, params, batch.pictures.astype(jnp.float32) * scale + shift)
    grid = states.reshape(len(states), config.pictures.grid, 2, -1, states.shape[-1])
    mean = grid.mean((1, 3))
    mean = (mean - mean.mean(-1, keepdims=True)) / (mean.std(-1, keepdims=True) + 1e-5)
    logits = mean @ params[PROBE]["weight"] + params[PROBE]["bias"]
    return jnp.split(logits, [CLASSES[0]], axis=-1)


def taught(config: LlavaConfig, pixels: Pixels, tower: Params, stage: Stage, seed: int) -> Params:
    """Train a tower and a probe, and print how many of the validation pictures it sees right."""
    width = config.vision.hidden_size, sum(CLASSES)
    weight = jax.random.normal(jax.random.key(seed), width) * width[0] ** -0.5
    start = {TOWER: tower, PROBE: {"weight": weight, "bias": jnp.zeros(width[1])}}

    def loss(params: Params, fixed: Params, batch: Labelled) -> Float[Array, ""]:
        of = optax.softmax_cross_entropy_with_integer_labels
        answers = probed(config, pixels, params, batch)
        return sum(of(answers[i], batch.labels[..., i]).mean() for i in (0, 1)) / 2

    params = fit(loss, start, labelled(seed, "train", BATCH), stage)
    unseen = next(labelled(seed + 1, "validation", 500))
    answers = probed(config, pixels, params, unseen)
    right = [float((answers[i].argmax(-1) == unseen.labels[..., i]).mean()) for i in (0, 1)]
    print(f"tower: {right[0]:.1%} of digits, {right[1]:.1%} of colours (validation)", flush=True)
    return params[TOWER]
