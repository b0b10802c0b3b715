"""What a model that sees can do: its decoder's abilities, with pictures that candidates see."""

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
from evojax_merge.models.decoder.abilities import Generation, Likelihood
from evojax_merge.models.decoder.inference.pictures import Features, Pictures
from evojax_merge.models.request import Generate, Loglikelihood, Request, Sight
from evojax_merge.models.seeing.config import LANGUAGE, SeeingConfig
from evojax_merge.models.seeing.vision import EXTRA, Vision
from evojax_merge.params.types import Array, Float, Int, Params


@dataclasses.dataclass(frozen=True)
class Seeing(Ability):
    """An ability of decoders on prompts that may have pictures.

    Attributes:
        own: The ability of the language model.
        vision: The function that says how a model sees.
    """

    own: Generation | Likelihood
    vision: Callable[[Any], Vision]

    def program(self, config: SeeingConfig, request: Any, axes: Any) -> Program:
        language_axes = axes.get(LANGUAGE)
        if request.image_token_id is None:
            program = self.own.program(config.text, request, language_axes)
            return lambda params, *fields: program(_language(config, params), *fields)
        eyes_axes = {part: axes[part] for part in config.present if part != LANGUAGE}
        vision = self.vision(config)
        pictures = Pictures(
            request.image_token_id, _features_fn(vision), eyes_axes or None, vision.shifted
        )

        def run(params: Params, *fields: Any) -> Array:
            whole = {**_sight(fields).params, **params}
            language = whole[LANGUAGE]
            own_axes = language_axes or jax.tree.map(lambda _: None, language)
            program = self.own.program(config.text, request, own_axes, pictures)
            eyes = {part: whole[part] for part in eyes_axes}
            return program(language, *fields, eyes=eyes or None)

        return run

    def bytes(
        self,
        config: SeeingConfig,
        request: Any,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        if request.image_token_id is None:
            return self.own.bytes(config.text, request, batch, itemsize, hops)
        vision, hidden = self.vision(config), config.text.hidden_size
        text, pictures = _divided(request, batch)
        tiles, index = pictures[0], pictures[-3 if vision.shifted else -2]
        seen = jax.ShapeDtypeStruct((*index.shape, hidden), jnp.float32)
        reading = self.own.bytes(config.text, request, (*text, seen), itemsize, hops)
        rows = min(len(tiles), getattr(request, "slots", None) or len(tiles))
        count = tiles.shape[1]
        made = rows * count * vision.positions * hidden * itemsize
        return reading + vision.bytes(rows, count, itemsize) + made

    def smaller(self, request: Any, batches: Sequence[Batch]) -> Any:
        return self.own.smaller(request, batches)

    def predict(self, config: SeeingConfig, request: Any) -> Predict:
        own = self.own.predict(config.text, request)
        if request.image_token_id is None:
            return lambda params, *fields: own(_language(config, params), *fields)
        vision = self.vision(config)
        features_fn = _features_fn(vision)

        def run(params: Params, *fields: Any) -> tuple[Array, Array]:
            text, pictures = _divided(request, fields)
            whole = {**_sight(fields).params, **params}
            shift = pictures[-1:] if vision.shifted else ()
            shown = pictures[: len(pictures) - len(shift)]
            return own(whole[LANGUAGE], *text, features_fn(whole, *shown), *shift)

        return run

    def loglikelihood(self, config: SeeingConfig) -> ItemLoglikelihood:
        raise ValueError(_NO_EVIDENCE)

    def rows(
        self, fields: tuple[np.ndarray, ...], real: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        raise ValueError(_NO_EVIDENCE)


_NO_EVIDENCE = (
    "evidence is collected on texts, which a vision tower and a projector do not read; merge "
    "model.parts=[language_model], or use an operator that needs no data"
)

_TEXT_FIELDS: dict[type[Request], int] = {Generate: 2, Loglikelihood: 3}
"""The number of fields of a batch before those of pictures."""


def seeing_abilities(vision: Callable[[Any], Vision]) -> dict[type[Request], Ability]:
    """Return what models can do that see in some way.

    Args:
        vision: The function that says how a model sees, by its configuration.
    """
    return {
        Generate: Seeing(Generation(), vision),
        Loglikelihood: Seeing(Likelihood(), vision),
    }


def gathered(
    features: Float[Array, "batch tiles positions hidden"],
    index: Int[Array, "batch slots"],
    extra: Float[Array, " hidden"] | None = None,
) -> Float[Array, "batch slots hidden"]:
    """Bring the features of each prompt's tiles into the order in which the prompt has them.

    Args:
        features: The features of the tiles of each prompt.
        index: The rows that the features of a prompt's pictures are, as in a `Look` with the tiles
            of all pictures of the prompt counted on. What stands after them does not matter.
        extra: The row `EXTRA`, if there is one.
    """
    batch, *_, hidden = features.shape
    rows = features.reshape(batch, -1, hidden)
    after = rows.shape[1]
    if extra is not None:
        last = jnp.broadcast_to(extra, (batch, 1, hidden))
        rows = jnp.concatenate([rows, last.astype(rows.dtype)], axis=1)
    return jnp.take_along_axis(rows, jnp.where(index == EXTRA, after, index)[..., None], axis=1)


def _features_fn(vision: Vision) -> Callable[..., Features]:
    """Return the function that sees, with some parts of a candidate, the pictures of prompts."""

    def of(eyes: Params | None, *fields: Any) -> Features:
        *tiles, index, sight = fields
        whole = {**sight.value.params, **(eyes or {})}
        found = vision.features(whole, sight.value.pixels, *tiles)
        return gathered(found, index, vision.extra(whole))

    return of


def _divided(request: Request, fields: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Divide the fields of a batch into those of text and those of pictures."""
    text = _TEXT_FIELDS[type(request)]
    return fields[:text], fields[text:]


def _sight(fields: Sequence[Any]) -> Sight:
    """Return what the pictures of all prompts have in common."""
    found: Sight = next(field.value for field in fields if isinstance(field, Common))
    return found


def _language(config: SeeingConfig, params: Params) -> Params:
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
