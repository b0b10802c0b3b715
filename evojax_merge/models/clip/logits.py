"""Logits of pictures for classes that are described in words, or by a linear head."""

import functools

import jax
import jax.numpy as jnp

from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.clip.modeling import image_features, normalised, text_features
from evojax_merge.models.clip.params import SCALE
from evojax_merge.models.pieces import in_pieces
from evojax_merge.models.request import Head, Pixels, Prompts
from evojax_merge.params.types import Array, Float, Params, UInt8

Pictures = UInt8[Array, "batch channels height width"]


def logits(
    config: CLIPConfig,
    params: Params,
    pictures: Pictures,
    pixels: Pixels,
    classes: Prompts | Head,
    rows: int | None = None,
) -> Float[Array, "batch classes"]:
    """Compute float32 logits of each class.

    For classes in words they are exp(logit_scale) · cos(picture, class). The text tower runs once,
    whatever the number of pictures. Where the classes are a head, it does not run.

    Args:
        config: The model.
        params: The parameter tree of the model.
        pictures: Pictures of the model's size, with numbers from 0 to 255.
        pixels: The numbers that turn pixels into what the model reads.
        classes: The classes.
        rows: How many pictures or prompts are read at a time. With None all are read at once.

    Raises:
        ValueError: The model lacks a tower, or does not read such pictures or prompts.
    """
    head = class_head(config, params, classes, rows) if isinstance(classes, Prompts) else classes

    def features(part: Pictures) -> Float[Array, "batch features"]:
        scale, shift = (channel[:, None, None] for channel in pixels)
        return image_features(config, params, part.astype(jnp.float32) * scale + shift)

    return head_logits(in_pieces(features, pictures, rows), head)


def head_logits(
    features: Float[Array, "batch features"], head: Head
) -> Float[Array, "batch classes"]:
    """Compute the float32 logits that a head makes of the features of pictures."""
    found = features.astype(jnp.float32)
    # Where a device would round the factors, a scale of about 100 would show it.
    times = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    if head.projection is not None:
        found = times(found, head.projection.T)
    if head.bias is None:
        found = normalised(found)
    values = times(found, head.weight.T)
    return values if head.bias is None else values + head.bias


def class_head(
    config: CLIPConfig, params: Params, prompts: Prompts, rows: int | None = None
) -> Head:
    """Make the head of classes in words: exp(logit_scale) times the direction of each class.

    Raises:
        ValueError: The model has no text tower, or the prompts are too long for it.
    """
    classes, templates, seq = prompts.tokens.shape
    flat = jnp.asarray(prompts.tokens).reshape(classes * templates, seq)
    read = in_pieces(lambda tokens: text_features(config, params, tokens), flat, rows)
    directions = class_features(read.reshape(classes, templates, -1))
    scale = jnp.exp(params[SCALE].astype(jnp.float32)) if SCALE in params else jnp.float32(1)
    return Head(scale * directions)


def class_features(
    features: Float[Array, "classes templates features"],
) -> Float[Array, "classes features"]:
    """Average the directions of each class's prompts into one vector of length 1, in float32.

    Source: Radford et al., 2021, arXiv 2103.00020, section 3.1.4.
    """
    return normalised(jnp.mean(normalised(features), axis=1))
