"""What a LLaVA can do: its decoder's abilities, with pictures that each candidate sees itself."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models.ability import (
    Ability,
    Batch,
    Common,
    ItemLoglikelihood,
    Predict,
    Program,
)
from evojax_merge.models.clip.abilities import activation_bytes
from evojax_merge.models.decoder.abilities import Generation, Likelihood
from evojax_merge.models.decoder.inference.pictures import Features, Pictures
from evojax_merge.models.llava.config import LANGUAGE, LlavaConfig
from evojax_merge.models.llava.modeling import TILES_AT_A_TIME, features, gathered
from evojax_merge.models.request import Generate, Loglikelihood
from evojax_merge.params.types import Array, Int, Params, UInt8


@dataclasses.dataclass(frozen=True)
class Seeing(Ability):
    """An ability of decoders on prompts that may have pictures.

    Attributes:
        own: The ability of the language model.
    """

    own: Generation | Likelihood

    def program(self, config: LlavaConfig, request: Any, axes: Any) -> Program:
        language_axes = axes.get(LANGUAGE)
        if request.image_token_id is None:
            program = self.own.program(config.text, request, language_axes)
            return lambda params, *fields: program(_language(config, params), *fields)
        eyes_axes = {part: axes[part] for part in config.present if part != LANGUAGE}
        pictures = Pictures(request.image_token_id, _features_fn(config), eyes_axes or None)

        def run(params: Params, *fields: Any) -> Array:
            whole = {**fields[-1].value.params, **params}
            language = whole[LANGUAGE]
            own_axes = language_axes or jax.tree.map(lambda _: None, language)
            program = self.own.program(config.text, request, own_axes, pictures)
            eyes = {part: whole[part] for part in eyes_axes}
            return program(language, *fields, eyes=eyes or None)

        return run

    def bytes(
        self,
        config: LlavaConfig,
        request: Any,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        if request.image_token_id is None:
            return self.own.bytes(config.text, request, batch, itemsize, hops)
        *text, tiles, index, _ = batch
        hidden = config.text.hidden_size
        seen = jax.ShapeDtypeStruct((*index.shape, hidden), jnp.float32)
        reading = self.own.bytes(config.text, request, (*text, seen), itemsize, hops)
        rows = min(len(tiles), getattr(request, "slots", None) or len(tiles))
        count, positions = rows * tiles.shape[1], config.vision.num_positions
        at_a_time = min(count, TILES_AT_A_TIME)
        pixels = 4 * tiles[0, 0].size
        states = positions * (config.projector.inputs + 2 * hidden) * itemsize
        looking = pixels + states + activation_bytes(config.vision, positions, itemsize)
        return reading + at_a_time * looking + count * positions * hidden * itemsize

    def smaller(self, request: Any, batches: Sequence[Batch]) -> Any:
        return self.own.smaller(request, batches)

    def predict(self, config: LlavaConfig, request: Any) -> Predict:
        own = self.own.predict(config.text, request)
        if request.image_token_id is None:
            return lambda params, *fields: own(_language(config, params), *fields)
        features_fn = _features_fn(config)

        def run(params: Params, *fields: Any) -> tuple[Array, Array]:
            *text, tiles, index, sight = fields
            whole = {**sight.value.params, **params}
            return own(whole[LANGUAGE], *text, features_fn(whole, tiles, index, sight))

        return run

    def loglikelihood(self, config: LlavaConfig) -> ItemLoglikelihood:
        raise ValueError(_NO_EVIDENCE)

    def rows(
        self, fields: tuple[np.ndarray, ...], real: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        raise ValueError(_NO_EVIDENCE)


ABILITIES = {Generate: Seeing(Generation()), Loglikelihood: Seeing(Likelihood())}

_NO_EVIDENCE = (
    "evidence is collected on texts, which a vision tower and a projector do not read; merge "
    "model.parts=[language_model], or use an operator that needs no data"
)


def _features_fn(config: LlavaConfig) -> Callable[..., Features]:
    """Return the function that sees, with some parts of a candidate, the pictures of prompts."""

    def of(
        eyes: Params | None,
        tiles: UInt8[Array, "rows tiles channels height width"],
        index: Int[Array, "rows slots"],
        sight: Common,
    ) -> Features:
        whole = {**sight.value.params, **(eyes or {})}
        rows, count, *shape = tiles.shape
        found = features(config, whole, tiles.reshape(rows * count, *shape), sight.value.pixels)
        return gathered(config, whole, found.reshape(rows, count, *found.shape[1:]), index)

    return of


def _language(config: LlavaConfig, params: Params) -> Params:
    """Return the parameters of the language model.

    Raises:
        ValueError: The candidates have none of their own.
    """
    if LANGUAGE not in config.present:
        raise ValueError(
            "a task without pictures says nothing about a vision tower or a projector, and these "
            "alone are merged; add language_model to model.parts, or give a task with pictures"
        )
    return params[LANGUAGE]
