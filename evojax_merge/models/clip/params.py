"""The place of each tensor of a CLIP checkpoint in the parameter tree, its shape and its use.

The tree has a branch for each tower, ``text`` and ``vision``, which holds all that the tower needs,
its projection included. ``logit_scale`` stands beside them where there are both. The layers of a
tower are one stack, ``text.layers`` or ``vision.layers``.
"""

import functools
import re

from evojax_merge.models.clip.config import CLIPConfig, TextConfig, TowerConfig, VisionConfig
from evojax_merge.models.layout import LAYER, Layout, Leaf, Place, Stack

# Buffers that older checkpoints carry and that count from 0.
BUFFERS = re.compile(r"(.*\.)?embeddings\.position_ids")

SCALE = "logit_scale"

LAYER_PREFIX = f"encoder.layers.{LAYER}."
"""What the names of tensors in a layer of a tower begin with."""

_PROJECTIONS = {"text": "text_projection.weight", "vision": "visual_projection.weight"}

_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")

_TOKENS = "embeddings.token_embedding.weight"

# The first of these that stands in the path of a leaf says what the leaf is for.
_GROUPS = (
    ("self_attn", "attention"),
    ("mlp", "mlp"),
    ("norm", "norm"),
    ("embedding", "embedding"),
    # The scale of the similarity belongs to the space that the projections make.
    ("projection", "projection"),
    (SCALE, "projection"),
)


@functools.cache
def layout(config: CLIPConfig) -> Layout:
    """Make the layout, with a stack of layers for each tower.

    What comes before the layers of a tower counts as part of the first. The scale of the similarity
    goes with the pictures, whose logits it scales.
    """
    leaves = {
        f"{name}.{path}": _leaf(config, name, path, shape)
        for name, tower in towers(config).items()
        for path, shape in _tower_shapes(tower).items()
    }
    if len(towers(config)) == 2:
        leaves[SCALE] = Leaf((), SCALE, tower_group(SCALE), "vision.layers")
    depths = {f"{name}.layers": tower.num_layers for name, tower in towers(config).items()}
    stacks = {name: Stack(name, depth) for name, depth in depths.items()}
    return Layout(dict(sorted(leaves.items())), stacks)


def hf_fields(config: CLIPConfig) -> dict[str, object]:
    """Return the fields of ``config.json`` that a merge may have changed: there are none.

    Vocabularies of different sizes are aligned in memory alone (see `Family.with_vocabulary`).
    """
    return {}


def towers(config: CLIPConfig) -> dict[str, TextConfig | VisionConfig]:
    """Return the towers of a model by name: ``text``, ``vision`` or both."""
    found: dict[str, TextConfig | VisionConfig] = {}
    if config.text is not None:
        found["text"] = config.text
    if config.vision is not None:
        found["vision"] = config.vision
    return found


def tower_linear_inputs(tower: TowerConfig) -> dict[str, str]:
    """Map each linear layer's weight to the layer that stands for all that read its input.

    Paths are those within the tower. The patch embedding is a convolution and has no place here.
    """
    found = {f"layers.self_attn.{name}.weight": "layers.self_attn.q_proj" for name in _ATTENTION}
    own = ["layers.self_attn.out_proj", "layers.mlp.fc1", "layers.mlp.fc2"]
    if tower.projection_dim is not None:
        own.append("projection")
    return found | {f"{layer}.weight": layer for layer in own}


def _leaf(config: CLIPConfig, name: str, path: str, shape: tuple[int, ...]) -> Leaf:
    """Make a leaf of a tower, by its path within it."""
    reads = tower_linear_inputs(towers(config)[name]).get(path)
    return Leaf(
        shape=shape,
        tensor=_tensor(config, name, path),
        group=tower_group(path),
        stack=f"{name}.layers",
        place=tower_place(path),
        token_table=path == _TOKENS,
        reads=None if reads is None else f"{name}.{reads}",
    )


def _tensor(config: CLIPConfig, name: str, path: str) -> str:
    """Return the name on disk of a leaf of a tower."""
    if path == "projection.weight":
        return _PROJECTIONS[name]
    prefix = f"{name}_model." if config.prefixed else ""
    return prefix + re.sub(r"^layers\.", LAYER_PREFIX, path)


def tower_group(path: str) -> str:
    """Return the group of a leaf, by its path within a tower."""
    return next(name for key, name in _GROUPS if key in path)


def tower_place(path: str) -> Place:
    """Return the place of a leaf in the stack of its tower, by its path within it."""
    if path.startswith("layers."):
        return "each"
    return "first" if path.startswith(("embeddings.", "pre_layrnorm.")) else "last"


def layer_shapes(c: TowerConfig) -> dict[str, tuple[int, ...]]:
    """Map each path within the layers of a tower to its shape, which begins with the layers."""
    linear = {f"self_attn.{name}": (c.hidden_size, c.hidden_size) for name in _ATTENTION}
    linear |= {
        "mlp.fc1": (c.intermediate_size, c.hidden_size),
        "mlp.fc2": (c.hidden_size, c.intermediate_size),
    }
    layer: dict[str, tuple[int, ...]] = {f"{name}.weight": size for name, size in linear.items()}
    layer |= {f"{name}.bias": (outputs,) for name, (outputs, _) in linear.items()}
    layer |= norm_shapes("layer_norm1", c) | norm_shapes("layer_norm2", c)
    return {f"layers.{path}": (c.num_layers, *shape) for path, shape in layer.items()}


def _tower_shapes(c: TextConfig | VisionConfig) -> dict[str, tuple[int, ...]]:
    """Map each path within one tower to its shape."""
    found = layer_shapes(c)
    match c:
        case TextConfig():
            positions = c.max_position_embeddings
            found[_TOKENS] = (c.vocab_size, c.hidden_size)
            found |= norm_shapes("final_layer_norm", c)
        case VisionConfig():
            positions = c.num_positions
            kernel = (c.hidden_size, c.num_channels, c.patch_size, c.patch_size)
            found["embeddings.patch_embedding.weight"] = kernel
            found["embeddings.class_embedding"] = (c.hidden_size,)
            # "layrnorm" is how the tensor is spelled in every checkpoint.
            found |= norm_shapes("pre_layrnorm", c) | norm_shapes("post_layernorm", c)
    found["embeddings.position_embedding.weight"] = (positions, c.hidden_size)
    if c.projection_dim is not None:
        found["projection.weight"] = (c.projection_dim, c.hidden_size)
    return found


def norm_shapes(name: str, c: TowerConfig) -> dict[str, tuple[int, ...]]:
    """Map the paths of a norm to their shapes."""
    return {f"{name}.weight": (c.hidden_size,), f"{name}.bias": (c.hidden_size,)}
