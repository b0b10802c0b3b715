"""CLIP puts texts and pictures into one space (Radford et al., 2021, arXiv 2103.00020).

Every function reads the branch of its own tower and no other, so that the rest of the parameter
tree may be absent.
"""

import jax
import jax.numpy as jnp

from evojax_merge.models.clip.config import CLIPConfig, TextConfig, TowerConfig, VisionConfig
from evojax_merge.models.clip.params import SCALE, towers
from evojax_merge.models.clip.towers import Pixels, init_tower, tower_of
from evojax_merge.params.types import Array, Float, Params, PRNGKey, Tokens

_INITIAL_SCALE = 2.6592  # the log of 1 / 0.07, as transformers rounds it


def text_features(
    config: CLIPConfig, params: Params, tokens: Tokens, *, probed: bool = False
) -> Float[Array, "batch features"]:
    """Compute a vector per text, not normalised, projected where the tower has a projection.

    Args:
        config: The model.
        params: The parameter tree of the model, of which ``text`` is read.
        tokens: Texts, padded on the right. What stands after a text's first EOS does not matter.
            A text without EOS is read at its first position, as transformers does.
        probed: Whether the parameters hold probes (see `evojax_merge.models.probe`).

    Raises:
        ValueError: The model has no text tower, or the texts are too long for it.
    """
    text = _text(config, tokens)
    return tower_of(text, params["text"], probed=probed)(tokens)


def image_features(
    config: CLIPConfig, params: Params, pixels: Pixels, *, probed: bool = False
) -> Float[Array, "batch features"]:
    """Compute a vector per picture, not normalised, projected where the tower has a projection.

    Args:
        config: The model.
        params: The parameter tree of the model, of which ``vision`` is read.
        pixels: Pictures of the model's size, normalised by its image processor.
        probed: Whether the parameters hold probes (see `evojax_merge.models.probe`).

    Raises:
        ValueError: The model has no vision tower, or the pictures are not what it reads.
    """
    vision = _vision(config, pixels)
    return tower_of(vision, params["vision"], probed=probed)(pixels)


def text_states(
    config: CLIPConfig, params: Params, tokens: Tokens, layer: int
) -> Float[Array, "batch seq hidden"]:
    """Compute the text tower's residual stream before any final norm. Later layers do not run.

    Args:
        config: The model.
        params: The parameter tree of the model, of which ``text`` is read.
        tokens: Texts, padded on the right.
        layer: How many layers have run, counted as in transformers' ``hidden_states``: 0 is what
            enters the first layer, −1 what leaves the last one, −2 what enters it.

    Raises:
        ValueError: The model has no text tower or no such layer, or the texts are too long.
    """
    text = _text(config, tokens)
    return tower_of(text, params["text"]).states(tokens, _depth(text, layer))


def image_states(
    config: CLIPConfig, params: Params, pixels: Pixels, layer: int
) -> Float[Array, "batch seq hidden"]:
    """Compute the vision tower's residual stream, class token first. Later layers do not run.

    Args:
        config: The model.
        params: The parameter tree of the model, of which ``vision`` is read.
        pixels: Pictures of the model's size, normalised by its image processor.
        layer: How many layers have run, counted as in `text_states`. At 0, ``pre_layrnorm`` has
            run.

    Raises:
        ValueError: The model has no vision tower or no such layer, or it does not read such
            pictures.
    """
    vision = _vision(config, pixels)
    return tower_of(vision, params["vision"]).states(pixels, _depth(vision, layer))


def similarity(
    images: Float[Array, "images features"],
    texts: Float[Array, "texts features"],
    logit_scale: Float[Array, ""],
) -> Float[Array, "images texts"]:
    """Compute exp(logit_scale) · cos(image, text) in float32, the logits of each picture's text."""
    # Where a device would round the factors, the scale of about 100 would show it.
    highest = jax.lax.Precision.HIGHEST
    cosine = jnp.matmul(normalised(images), normalised(texts).T, precision=highest)
    return jnp.exp(logit_scale.astype(jnp.float32)) * cosine


def normalised(features: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
    """Bring vectors to length 1, in float32. A vector of zeros stays one."""
    wide = features.astype(jnp.float32)
    squares = jnp.sum(wide * wide, axis=-1, keepdims=True)
    return wide * jax.lax.rsqrt(jnp.where(squares > 0, squares, 1))


def init_params(config: CLIPConfig, key: PRNGKey) -> Params:
    """Draw random parameters: normal with σ = 0.02, norms 1, biases 0, the paper's scale."""
    both = towers(config)
    keys = jax.random.split(key, len(both))
    params: Params = {
        name: init_tower(tower, own) for (name, tower), own in zip(both.items(), keys, strict=True)
    }
    return {SCALE: jnp.float32(_INITIAL_SCALE), **params} if len(both) == 2 else params


def _text(config: CLIPConfig, tokens: Tokens) -> TextConfig:
    """Return the text tower's configuration, if it reads such texts."""
    if config.text is None:
        raise ValueError("this CLIP has no text tower; its config.json is of a vision tower alone")
    most = config.text.max_position_embeddings
    if tokens.shape[1] > most:
        raise ValueError(
            f"texts of {tokens.shape[1]} tokens are too long for this CLIP, which reads {most}; "
            f"truncate them when they are tokenized"
        )
    return config.text


def _vision(config: CLIPConfig, pixels: Pixels) -> VisionConfig:
    """Return the vision tower's configuration, if it reads such pictures."""
    if config.vision is None:
        raise ValueError("this CLIP has no vision tower; its config.json is of a text tower alone")
    size = config.vision.image_size
    shape = (config.vision.num_channels, size, size)
    if pixels.shape[1:] != shape or not jnp.issubdtype(pixels.dtype, jnp.floating):
        raise ValueError(
            f"pictures of shape {pixels.shape[1:]} and dtype {pixels.dtype} are not what this CLIP "
            f"reads, which is {shape} (channels, height, width) of normalised floats; prepare them "
            f"by the checkpoint's image processor"
        )
    return config.vision


def _depth(config: TowerConfig, layer: int) -> int:
    """Count the layers that run for an index into ``hidden_states``."""
    layers = config.num_layers
    if not -layers - 1 <= layer <= layers:
        raise ValueError(
            f"layer {layer} does not exist: this tower has {layers} layers, so that its states are "
            f"numbered from 0 to {layers}, or from -1 down to {-layers - 1}"
        )
    return layer % (layers + 1)
