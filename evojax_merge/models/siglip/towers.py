"""The vision tower of SigLIP (Zhai et al., 2023, arXiv 2303.15343), up to its last layer.

Its layers are those of CLIP. There is no class token, and no norm before the layers.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from evojax_merge.models.clip.layers import normal
from evojax_merge.models.clip.towers import Pixels, Table, Tower, patched
from evojax_merge.models.siglip.config import SiglipVisionConfig
from evojax_merge.models.siglip.params import leaves
from evojax_merge.params.tree import unflatten
from evojax_merge.params.types import Array, Float, Params, PRNGKey


class PatchEmbedding(nnx.Module):
    """A map of patches, with a bias."""

    def __init__(self, config: SiglipVisionConfig, *, rngs: nnx.Rngs):
        c = config
        shape = (c.hidden_size, c.num_channels, c.patch_size, c.patch_size)
        self.weight = nnx.Param(normal(rngs, shape))
        self.bias = nnx.Param(jnp.zeros(c.hidden_size))
        self.grid = c.grid

    def __call__(self, pixels: Pixels) -> Float[Array, "batch seq hidden"]:
        return patched(pixels, self.weight[...], self.grid) + self.bias[...]


class VisionEmbeddings(nnx.Module):
    """The embeddings of a picture: mapped patches, plus a row per position."""

    def __init__(self, config: SiglipVisionConfig, *, rngs: nnx.Rngs):
        self.patch_embedding = PatchEmbedding(config, rngs=rngs)
        self.position_embedding = Table(config.num_positions, config.hidden_size, rngs=rngs)

    def __call__(self, pixels: Pixels) -> Float[Array, "batch seq hidden"]:
        return self.patch_embedding(pixels) + self.position_embedding.weight[...]


class VisionTower(Tower):
    """Layers over patches, without what stands after the last of them."""

    def __init__(self, config: SiglipVisionConfig, *, rngs: nnx.Rngs):
        super().__init__(config, causal=False, rngs=rngs)
        self.embeddings = VisionEmbeddings(config, rngs=rngs)

    def embed(self, pixels: Pixels) -> Float[Array, "batch seq hidden"]:
        """Return what enters the first layer."""
        return self.embeddings(pixels)


def tower_of(config: SiglipVisionConfig, params: Params) -> VisionTower:
    """Build the tower with these parameters. Those after the last layer may be absent."""
    return nnx.merge(_graph(config), {name: params[name] for name in ("embeddings", "layers")})


def init_tower(config: SiglipVisionConfig, key: PRNGKey) -> Params:
    """Draw random parameters of a tower: normal with σ = 0.02, norms 1, biases 0."""
    shapes = {path: leaf.shape for path, leaf in leaves(config).items()}
    keys = jax.random.split(key, len(shapes))

    def draw(path: str, shape: tuple[int, ...], own: PRNGKey) -> Float[Array, "..."]:
        if path.endswith("bias"):
            return jnp.zeros(shape)
        return jnp.ones(shape) if "norm" in path else 0.02 * jax.random.normal(own, shape)

    return unflatten(
        {
            path: draw(path, shape, own)
            for (path, shape), own in zip(shapes.items(), keys, strict=True)
        }
    )


@functools.cache
def _graph(config: SiglipVisionConfig) -> nnx.GraphDef:
    return nnx.graphdef(nnx.eval_shape(lambda: VisionTower(config, rngs=nnx.Rngs(0))))
