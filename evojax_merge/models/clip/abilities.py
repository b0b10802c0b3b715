"""What CLIP can do: classify pictures."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.models.ability import Ability, Batch, Common, Predict, Program
from evojax_merge.models.clip.config import CLIPConfig, TowerConfig
from evojax_merge.models.clip.logits import Pictures, logits
from evojax_merge.models.request import ClassifyPictures, Prompts
from evojax_merge.params.types import Array, Float, Params

_FEW = 8
"""The number of pictures at a time below which less memory is not worth the time."""


class PictureClassification(Ability):
    """This ability computes the logits of pictures by `logits`."""

    def program(self, config: CLIPConfig, request: ClassifyPictures, axes: Any) -> Program:
        def one(
            params: Params, pictures: Pictures, pixels: Common, classes: Common
        ) -> Float[Array, "batch classes"]:
            return logits(config, params, pictures, pixels.value, classes.value, request.rows)

        return jax.vmap(one, in_axes=(axes, None, None, None))

    def bytes(
        self,
        config: CLIPConfig,
        request: ClassifyPictures,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        pictures, _, classes = batch
        assert config.vision is not None  # else no batch could be made
        rows = min(request.rows, len(pictures))
        most = 4 * rows * math.prod(pictures.shape[1:])
        most += rows * activation_bytes(config.vision, config.vision.num_positions, itemsize)
        if isinstance(classes.value, Prompts) and config.text is not None:
            *prompts, seq = classes.value.tokens.shape
            rows = min(request.rows, prompts[0] * prompts[1])
            most = max(most, rows * activation_bytes(config.text, seq, itemsize))
        return most + 4 * len(pictures) * (_width(config.vision) + len(classes.value[0]))

    def smaller(
        self, request: ClassifyPictures, batches: Sequence[Batch]
    ) -> ClassifyPictures | None:
        halved = min(request.rows, max(len(batch[0]) for batch in batches)) // 2
        return None if halved < _FEW else dataclasses.replace(request, rows=halved)

    def predict(self, config: CLIPConfig, request: ClassifyPictures) -> Predict:
        def classes_of(
            params: Params, pictures: Pictures, pixels: Common, classes: Common
        ) -> tuple[Array, Array]:
            found = logits(config, params, pictures, pixels.value, classes.value)
            return found[:, None], jnp.ones((len(pictures), 1))

        return classes_of


ABILITIES = {ClassifyPictures: PictureClassification()}


def activation_bytes(tower: TowerConfig, seq: int, itemsize: int) -> int:
    """Estimate the bytes that one row of a tower takes while it runs."""
    width = 4 * tower.hidden_size + 2 * tower.intermediate_size
    return seq * (width * itemsize + 4 * tower.num_heads * seq)


def _width(tower: TowerConfig) -> int:
    """Return how many features a tower gives."""
    return tower.projection_dim or tower.hidden_size
