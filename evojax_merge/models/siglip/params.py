"""The leaves of a SigLIP's vision tower, by their paths within it."""

import functools
from collections.abc import Mapping

from evojax_merge.models.clip.params import (
    LAYER_PREFIX,
    layer_shapes,
    norm_shapes,
    tower_group,
    tower_linear_inputs,
    tower_place,
)
from evojax_merge.models.layout import Leaf
from evojax_merge.models.siglip.config import SiglipVisionConfig

STACK = "layers"
"""The name of the one stack of layers."""

_HEAD = "head."


@functools.cache
def leaves(config: SiglipVisionConfig) -> Mapping[str, Leaf]:
    """Return the leaves of a tower. The head that pools counts as part of the last layer."""
    reads = tower_linear_inputs(config)
    return {
        path: Leaf(
            shape=shape,
            tensor=path.replace("layers.", LAYER_PREFIX, 1) if path.startswith(STACK) else path,
            group="head" if path.startswith(_HEAD) else tower_group(path),
            stack=STACK,
            place="last" if path.startswith(_HEAD) else tower_place(path),
            reads=reads.get(path),
        )
        for path, shape in sorted(_shapes(config).items())
    }


def _shapes(c: SiglipVisionConfig) -> dict[str, tuple[int, ...]]:
    """Map each path within the tower to its shape."""
    width, inner = c.hidden_size, c.intermediate_size
    found = layer_shapes(c) | norm_shapes("post_layernorm", c)
    kernel = (width, c.num_channels, c.patch_size, c.patch_size)
    found |= {
        "embeddings.patch_embedding.weight": kernel,
        "embeddings.patch_embedding.bias": (width,),
        "embeddings.position_embedding.weight": (c.num_positions, width),
    }
    if c.use_head:
        found |= norm_shapes(f"{_HEAD}layernorm", c)
        found |= {
            f"{_HEAD}probe": (1, 1, width),
            f"{_HEAD}attention.in_proj_weight": (3 * width, width),
            f"{_HEAD}attention.in_proj_bias": (3 * width,),
            f"{_HEAD}attention.out_proj.weight": (width, width),
            f"{_HEAD}attention.out_proj.bias": (width,),
            f"{_HEAD}mlp.fc1.weight": (inner, width),
            f"{_HEAD}mlp.fc1.bias": (inner,),
            f"{_HEAD}mlp.fc2.weight": (width, inner),
            f"{_HEAD}mlp.fc2.bias": (width,),
        }
    return found
