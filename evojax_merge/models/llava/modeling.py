"""A language model that sees pictures (Liu et al., 2023, arXiv 2304.08485 and 2310.03744).

The vision tower of a CLIP or a SigLIP sees the tiles of a picture. A projector makes rows of
features out of its states, and the decoder reads them in the place of embeddings.
"""

from typing import Any

import jax
import jax.numpy as jnp

from evojax_merge.models.activations import activate
from evojax_merge.models.clip import towers as clip
from evojax_merge.models.clip.towers import Pixels as Normalised
from evojax_merge.models.decoder import modeling as decoder
from evojax_merge.models.decoder.cache import Caches
from evojax_merge.models.llava.config import LlavaConfig
from evojax_merge.models.llava.params import projector_shapes
from evojax_merge.models.pieces import in_pieces
from evojax_merge.models.request import Pixels
from evojax_merge.models.seeing.config import LANGUAGE, PROJECTOR, TOWER
from evojax_merge.models.siglip import towers as siglip
from evojax_merge.models.siglip.config import SiglipVisionConfig
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Array, Float, Int, Params, PRNGKey, Tokens, UInt8

TILES_AT_A_TIME = 8
"""How many tiles the tower sees at a time, at most."""


def tower_states(
    config: LlavaConfig, params: Params, pixels: Normalised
) -> Float[Array, "tiles positions states"]:
    """Compute the states of the tower that become features, several of them side by side.

    Args:
        config: The model.
        params: The parameter tree, of which ``vision_tower`` is read.
        pixels: Tiles, normalised by the image processor of the model.
    """
    tower = _towers(config).tower_of(config.vision, params[TOWER])
    depths = [layer % (config.vision.num_layers + 1) for layer in config.pictures.layers]
    states = jnp.concatenate(tower.several(tower.embed(pixels), depths), axis=-1)
    return states[:, 1:] if config.pictures.select == "default" else states


def project(
    config: LlavaConfig, params: Params, states: Float[Array, "tiles positions states"]
) -> Float[Array, "tiles positions hidden"]:
    """Compute linear_2(act(linear_1(states))).

    Args:
        config: The model.
        params: The parameter tree, of which ``projector`` is read.
        states: The result of `tower_states`.
    """
    own = params[PROJECTOR]
    inner = activate(config.projector.hidden_act, _linear(own["linear_1"], states))
    return _linear(own["linear_2"], inner)


def features(
    config: LlavaConfig,
    params: Params,
    tiles: UInt8[Array, "tiles channels height width"],
    pixels: Pixels,
) -> Float[Array, "tiles positions hidden"]:
    """Compute the features of tiles, a few tiles at a time.

    Args:
        config: The model.
        params: The parameter tree, of which ``vision_tower`` and ``projector`` are read.
        tiles: Tiles of the tower's size, with numbers from 0 to 255.
        pixels: The numbers that turn pixels into what the tower reads.
    """

    def of(
        some: UInt8[Array, "some channels height width"],
    ) -> Float[Array, "some positions hidden"]:
        scale, shift = (channel[:, None, None] for channel in pixels)
        normalised = some.astype(jnp.float32) * scale + shift
        return project(config, params, tower_states(config, params, normalised))

    return in_pieces(of, tiles, TILES_AT_A_TIME)


def forward(
    config: LlavaConfig,
    params: Params,
    tokens: Tokens,
    start: Int[Array, " batch"],
    cache: Caches | None = None,
    offset: Int[Array, ""] | int = 0,
    *,
    features: Float[Array, "batch slots hidden"] | None = None,
    last_only: bool = False,
) -> tuple[Float[Array, "batch read vocab"], Caches | None]:
    """Compute the logits of the next token after each position.

    Args:
        config: The model.
        params: The parameter tree, of which ``language_model`` is read.
        tokens: Token ids, left-padded. A picture has as many tokens as it has features.
        start: The first slot of each sequence that holds a token.
        cache: The keys and values of slots before ``offset``.
        offset: The slot of the first of ``tokens``.
        features: The features of each prompt's pictures in order, or None for text alone.
        last_only: Whether only the logits of the last position are computed (``read`` is then 1).

    Returns:
        The logits in float32, and the cache with the new slots filled.
    """
    return decoder.forward(
        config.text,
        params[LANGUAGE],
        tokens,
        start,
        cache,
        offset,
        last_only=last_only,
        features=features,
        image_token_id=None if features is None else config.pictures.token_id,
    )


def init_params(config: LlavaConfig, key: PRNGKey) -> Params:
    """Draw random parameters: normal with σ = 0.02, norms that multiply by 1, biases 0."""
    tower, projector, language = jax.random.split(key, 3)
    made = {
        TOWER: lambda: _towers(config).init_tower(config.vision, tower),
        PROJECTOR: lambda: _init_projector(config, projector),
        LANGUAGE: lambda: decoder.init_params(config.text, language),
    }
    return {part: made[part]() for part in sorted(config.present)}


def _towers(config: LlavaConfig) -> Any:
    """Return the module that makes the tower of a model."""
    return siglip if isinstance(config.vision, SiglipVisionConfig) else clip


def _init_projector(config: LlavaConfig, key: PRNGKey) -> Params:
    shapes = projector_shapes(config.projector)
    keys = jax.random.split(key, len(shapes))
    return unflatten(
        {
            path: jnp.zeros(shape) if "bias" in path else 0.02 * jax.random.normal(own, shape)
            for (path, shape), own in zip(shapes.items(), keys, strict=True)
        }
    )


def _linear(params: Params, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
    y = jnp.einsum("...i,oi->...o", x, params["weight"])
    return y + params["bias"] if "bias" in params else y
