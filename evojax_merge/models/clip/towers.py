"""The text and the vision tower of CLIP.

The layers of a tower are stacked on a leading axis and run by ``lax.scan``. Modules are Flax NNX;
they leave this folder only as the pure functions of `modeling`.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.clip.config import TextConfig, TowerConfig, VisionConfig
from evojax_merge.models.clip.layers import Layer, LayerNorm, Linear, normal
from evojax_merge.models.clip.params import tower_linear_inputs
from evojax_merge.models.probe import attach
from evojax_merge.params.types import Array, Float, Params, PRNGKey, Tokens

Pixels = Float[Array, "batch channels height width"]
"""Pictures as transformers' image processors give them, cropped and normalised."""


class Tower(nnx.Module):
    """Stacked layers, and the projection of what is pooled from the last of them."""

    def __init__(self, config: TowerConfig, causal: bool, *, rngs: nnx.Rngs):
        @nnx.split_rngs(splits=config.num_layers)
        @nnx.vmap(in_axes=0, out_axes=0)
        def stack(rngs: nnx.Rngs) -> Layer:
            return Layer(config, causal, rngs=rngs)

        self.layers = stack(rngs)
        if config.projection_dim is not None:
            self.projection = Linear(config.hidden_size, config.projection_dim, False, rngs=rngs)

    def run(
        self, x: Float[Array, "batch seq hidden"], depth: int | None = None, first: int = 0
    ) -> Float[Array, "batch seq hidden"]:
        """Return the residual stream after the layers from ``first`` on and before ``depth``."""
        graph, stacked = nnx.split(self.layers)

        def hop(
            x: Float[Array, "batch seq hidden"], weights: nnx.State
        ) -> tuple[Float[Array, "batch seq hidden"], None]:
            return nnx.merge(graph, weights)(x), None

        return jax.lax.scan(hop, x, jax.tree.map(lambda leaf: leaf[first:depth], stacked))[0]

    def several(
        self, x: Float[Array, "batch seq hidden"], depths: Sequence[int]
    ) -> list[Float[Array, "batch seq hidden"]]:
        """Return the residual stream after several numbers of layers, each of which runs once."""
        found, depth = {0: x}, 0
        for deeper in sorted(set(depths)):
            found[deeper] = self.run(found[depth], deeper, depth)
            depth = deeper
        return [found[depth] for depth in depths]

    def project(self, pooled: Float[Array, "batch hidden"]) -> Float[Array, "batch features"]:
        """Project into the shared space. Without a projection the features stay as they are."""
        return self.projection(pooled) if hasattr(self, "projection") else pooled


class Table(nnx.Module):
    """A table is a weight alone, under the name that it has on disk."""

    def __init__(self, *shape: int, rngs: nnx.Rngs):
        self.weight = nnx.Param(normal(rngs, shape))


class TextEmbeddings(nnx.Module):
    """The embeddings of a text are a row per token plus a row per position."""

    def __init__(self, config: TextConfig, *, rngs: nnx.Rngs):
        width = config.hidden_size
        self.token_embedding = Table(config.vocab_size, width, rngs=rngs)
        self.position_embedding = Table(config.max_position_embeddings, width, rngs=rngs)

    def __call__(self, tokens: Tokens) -> Float[Array, "batch seq hidden"]:
        positions = self.position_embedding.weight[: tokens.shape[1]]
        return self.token_embedding.weight[...][tokens] + positions


class VisionEmbeddings(nnx.Module):
    """The embeddings of a picture: a class token and mapped patches, plus a row per position."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        c = config
        self.class_embedding = nnx.Param(normal(rngs, (c.hidden_size,)))
        self.patch_embedding = Table(
            c.hidden_size, c.num_channels, c.patch_size, c.patch_size, rngs=rngs
        )
        self.position_embedding = Table(c.num_positions, c.hidden_size, rngs=rngs)
        self.grid = c.grid

    def __call__(self, pixels: Pixels) -> Float[Array, "batch seq hidden"]:
        x = patched(pixels, self.patch_embedding.weight[...], self.grid)
        first = jnp.broadcast_to(self.class_embedding[...], (len(x), 1, x.shape[-1]))
        return jnp.concatenate([first, x], axis=1) + self.position_embedding.weight[...]


def patched(
    pixels: Pixels, kernel: Float[Array, "hidden channels patch patch"], grid: int
) -> Float[Array, "batch seq hidden"]:
    """Map each patch of pictures by a kernel, row by row.

    This is a convolution whose windows do not overlap. As a product of matrices it stays one when
    every candidate of a population has a kernel of its own.
    """
    batch, channels = pixels.shape[:2]
    patch = kernel.shape[-1]
    patches = pixels[:, :, : grid * patch, : grid * patch].astype(kernel.dtype)
    patches = patches.reshape(batch, channels, grid, patch, grid, patch)
    x = jnp.einsum("bcipjq,hcpq->bijh", patches, kernel)
    return x.reshape(batch, grid**2, -1)


class TextTower(Tower):
    """Causal layers over tokens. The features of a text are those at its end."""

    def __init__(self, config: TextConfig, *, rngs: nnx.Rngs):
        super().__init__(config, causal=True, rngs=rngs)
        self.embeddings = TextEmbeddings(config, rngs=rngs)
        self.final_layer_norm = LayerNorm(config)
        self.eos = config.eos_token_id

    def states(self, tokens: Tokens, depth: int | None = None) -> Float[Array, "batch seq hidden"]:
        """Return the residual stream after the first ``depth`` layers."""
        return self.run(self.embeddings(tokens), depth)

    def pool(
        self, states: Float[Array, "batch seq hidden"], tokens: Tokens
    ) -> Float[Array, "batch features"]:
        """Return the features of texts whose residual stream after all layers is given."""
        # Configurations of before mid-2023 say 2, which is wrong: EOS is the greatest id there.
        end = jnp.argmax(tokens if self.eos == 2 else tokens == self.eos, axis=-1)
        return self.project(self.final_layer_norm(states[jnp.arange(len(tokens)), end]))

    def __call__(self, tokens: Tokens) -> Float[Array, "batch features"]:
        return self.pool(self.states(tokens), tokens)


class VisionTower(Tower):
    """Layers over patches. The features of a picture are those of its class token."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        super().__init__(config, causal=False, rngs=rngs)
        self.embeddings = VisionEmbeddings(config, rngs=rngs)
        self.pre_layrnorm = LayerNorm(config)
        self.post_layernorm = LayerNorm(config)

    def states(self, pixels: Pixels, depth: int | None = None) -> Float[Array, "batch seq hidden"]:
        """Return the residual stream after the first ``depth`` layers."""
        return self.run(self.embed(pixels), depth)

    def embed(self, pixels: Pixels) -> Float[Array, "batch seq hidden"]:
        """Return what enters the first layer."""
        return self.pre_layrnorm(self.embeddings(pixels))

    def __call__(self, pixels: Pixels) -> Float[Array, "batch features"]:
        return self.project(self.post_layernorm(self.states(pixels)[:, 0]))


def tower_of(config: TextConfig | VisionConfig, params: Params, *, probed: bool = False) -> Any:
    """Build the `TextTower` or `VisionTower` with these parameters, which may hold probes."""
    return nnx.merge(_graph(config, probed), params)


def init_tower(config: TextConfig | VisionConfig, key: PRNGKey) -> Params:
    """Draw random parameters of one tower: normal with σ = 0.02, norms 1, biases 0."""
    return nnx.to_pure_dict(nnx.state(_build(config, nnx.Rngs(params=key))))


@functools.cache
def _graph(config: TextConfig | VisionConfig, probed: bool) -> nnx.GraphDef:
    probes = set(tower_linear_inputs(config).values()) if probed else ()
    return nnx.graphdef(nnx.eval_shape(lambda: attach(_build(config, nnx.Rngs(0)), probes)))


def _build(config: TextConfig | VisionConfig, rngs: nnx.Rngs) -> TextTower | VisionTower:
    match config:
        case TextConfig():
            return TextTower(config, rngs=rngs)
        case VisionConfig():
            return VisionTower(config, rngs=rngs)
