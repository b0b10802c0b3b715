"""Prompts to draw that are known by their shapes alone."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.fitness.drawing.pipeline import DECODING, conditioning_of, sampler_of, size_of
from evojax_merge.fitness.drawing.sampling import Sampling
from evojax_merge.fitness.drawing.text_encoders import parts_of
from evojax_merge.models.ability import Common, PerItem
from evojax_merge.models.diffusion.conditioning import encode
from evojax_merge.models.diffusion.conditions import Conditions, PromptTokens
from evojax_merge.models.diffusion.config import UNET, VAE, DiffusionConfig
from evojax_merge.models.request import Draw, Drawing


def drawings(model: Any, given: Mapping[str, Any], items: int) -> tuple[Draw, tuple[Any, ...]]:
    """Make the request for pictures of so many prompts, and the shapes of its batch.

    What judges them is left out. There is one negative prompt.

    Args:
        model: The merged part of a pipeline, or the whole, which is described alone.
        given: The keys of the task's configuration.
        items: The number of prompts.

    Raises:
        ValueError: The model does not draw, or not so.
    """
    carrier = getattr(model, "carrier", None)
    whole = carrier or model
    if not isinstance(whole.config, DiffusionConfig):
        raise ValueError(f"{model.directory}: this task needs a pipeline that draws")
    config, merged = whole.config, model.parts if carrier is not None else whole.config.present
    names = {field.name for field in dataclasses.fields(Sampling)}
    sampling = Sampling(**{key: value for key, value in given.items() if key in names})
    conditioning = conditioning_of(whole, sampling)
    size = size_of(config, sampling, str(whole.directory))
    reads = bool(set(merged) & config.encoders.keys())

    def conditions(rows: int) -> Conditions | PromptTokens:
        tokens = {
            name: _shape((rows, one.text.max_position_embeddings), jnp.int32)
            for name, one in config.encoders.items()
            if one.text is not None
        }
        sizes = None
        if conditioning.pooled is not None:
            sizes = _shape((rows, 6), jnp.float32)
        if reads:
            return PromptTokens(tokens, sizes)
        params = parts_of(whole, tuple(config.encoders), np.float32)
        run = functools.partial(encode, conditioning, config.encoders)
        found: Conditions = jax.eval_shape(run, params, PromptTokens(tokens))
        return found._replace(time_ids=sizes)

    guided = sampling.guidance > 1 and not conditioning.zeros
    drawing = Drawing(_lacking(whole, config, merged, reads), conditions(1) if guided else None)
    request = Draw(
        sampler=sampler_of(whole, sampling),
        guidance=float(sampling.guidance),
        height=size[0],
        width=size[1],
        vae=config.vae,
        conditioning=conditioning if reads else None,
        rows=sampling.rows,
    )
    seeds = _shape((items,), jnp.uint32)
    return request, (PerItem(conditions(items)), seeds, PerItem(()), Common(drawing))


def _shape(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


def _lacking(whole: Any, config: DiffusionConfig, merged: Any, reads: bool) -> dict[str, Any]:
    """The shapes of the parts that candidates lack, as they are read for a search."""
    found = {}
    if VAE not in merged:
        exact = np.float32 if config.vae.force_upcast else None
        own = parts_of(whole, (VAE,), exact)[VAE]
        found[VAE] = {name: part for name, part in own.items() if name in DECODING}
    others = (*config.encoders, UNET) if reads else (UNET,)
    return found | parts_of(whole, tuple(name for name in others if name not in merged))
