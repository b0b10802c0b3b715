"""Where each tensor of a CLIP checkpoint lives in the parameter tree, its shape and its use.

The tree has a branch for each tower, ``text`` and ``vision``, which holds all that the tower needs,
its projection included; ``logit_scale`` stands beside them where there are both. The layers of a
tower are one stack, ``text.layers`` or ``vision.layers``.
"""

import re
from collections.abc import Collection
from typing import Literal

from evojax_merge.models.clip.config import CLIPConfig, TextConfig, TowerConfig, VisionConfig

# Buffers that older checkpoints carry and that count from 0.
BUFFERS = re.compile(r"(.*\.)?embeddings\.position_ids")

SCALE = "logit_scale"

Place = Literal["each", "first", "last"]

_PROJECTIONS = {"text": "text_projection.weight", "vision": "visual_projection.weight"}

_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")

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


def towers(config: CLIPConfig) -> dict[str, TextConfig | VisionConfig]:
    """The towers of a model by name: ``text``, ``vision`` or both."""
    found: dict[str, TextConfig | VisionConfig] = {}
    if config.text is not None:
        found["text"] = config.text
    if config.vision is not None:
        found["vision"] = config.vision
    return found


def depths(config: CLIPConfig) -> dict[str, int]:
    """Name of every stack -> number of its layers."""
    return {f"{name}.layers": tower.num_layers for name, tower in towers(config).items()}


def shapes(config: CLIPConfig) -> dict[str, tuple[int, ...]]:
    """Path of every leaf -> shape, in the order of the tree; stacked ones begin with the layers."""
    found: dict[str, tuple[int, ...]] = {}
    for name, tower in towers(config).items():
        found |= {f"{name}.{path}": shape for path, shape in _tower_shapes(tower).items()}
    if len(depths(config)) == 2:
        found[SCALE] = ()
    return dict(sorted(found.items()))


def stacks(config: CLIPConfig) -> dict[str, str]:
    """Path of every leaf -> name of the stack that it belongs to, which is that of its tower.

    The scale of the similarity goes with the pictures, whose logits it scales.
    """
    names = {path: path.split(".")[0] for path in shapes(config)}
    return {path: f"{'vision' if name == SCALE else name}.layers" for path, name in names.items()}


def places(config: CLIPConfig) -> dict[str, Place]:
    """Path of every leaf -> where in its stack it belongs: to each layer, the first or the last.

    A leaf of each layer is stacked; what comes before the layers counts as part of the first.
    """
    return {path: _place(path) for path in shapes(config)}


def names(config: CLIPConfig, stored: Collection[str] = ()) -> dict[str, str]:
    """Path of every leaf -> tensor name, with ``{layer}`` in it where layers are stacked.

    A tower that stands alone and has no projection is spelled in two ways: transformers 5 writes
    ``encoder.layers.0…``, older releases wrote ``text_model.encoder.layers.0…``.

    Args:
        config: The model.
        stored: The tensor names of the file in question, whose spelling is taken; of a tower within
            a larger model, without what that model puts before them. With none, the spelling is
            that of transformers 5.
    """
    found = {}
    for name, tower in towers(config).items():
        prefix = f"{name}_model."
        alone = len(depths(config)) == 1 and tower.projection_dim is None
        if alone and not any(tensor.startswith(prefix) for tensor in stored):
            prefix = ""
        for path in _tower_shapes(tower):
            found[f"{name}.{path}"] = prefix + re.sub(r"^layers\.", "encoder.layers.{layer}.", path)
        if tower.projection_dim is not None:
            found[f"{name}.projection.weight"] = _PROJECTIONS[name]
    return {path: found.get(path, path) for path in shapes(config)}


def groups(config: CLIPConfig) -> dict[str, str]:
    """Path of every leaf -> parameter group: attention, mlp, norm, embedding or projection."""
    return {path: group(path) for path in shapes(config)}


def group(path: str) -> str:
    """Parameter group of a leaf, by the first of ``_GROUPS`` that stands in its path."""
    return next(name for key, name in _GROUPS if key in path)


def vocabulary_paths(config: CLIPConfig) -> tuple[str, ...]:
    """Leaves with one row per token."""
    return () if config.text is None else ("text.embeddings.token_embedding.weight",)


def linear_inputs(config: CLIPConfig) -> dict[str, str]:
    """Weight of each linear layer -> the layer that stands for all that read the same input.

    The patch embedding is a convolution and has no place here.
    """
    return {
        f"{name}.{weight}": f"{name}.{layer}"
        for name, tower in towers(config).items()
        for weight, layer in tower_linear_inputs(tower).items()
    }


def tower_linear_inputs(tower: TowerConfig) -> dict[str, str]:
    """`linear_inputs` of one tower, with paths within it."""
    found = {f"layers.self_attn.{name}.weight": "layers.self_attn.q_proj" for name in _ATTENTION}
    own = ["layers.self_attn.out_proj", "layers.mlp.fc1", "layers.mlp.fc2"]
    if tower.projection_dim is not None:
        own.append("projection")
    return found | {f"{layer}.weight": layer for layer in own}


def _place(path: str) -> Place:
    _, _, within = path.partition(".")
    if within.startswith("layers."):
        return "each"
    return "first" if within.startswith(("embeddings.", "pre_layrnorm.")) else "last"


def _tower_shapes(c: TextConfig | VisionConfig) -> dict[str, tuple[int, ...]]:
    """Path within one tower -> shape."""
    linear = {f"self_attn.{name}": (c.hidden_size, c.hidden_size) for name in _ATTENTION}
    linear |= {
        "mlp.fc1": (c.intermediate_size, c.hidden_size),
        "mlp.fc2": (c.hidden_size, c.intermediate_size),
    }
    layer: dict[str, tuple[int, ...]] = {f"{name}.weight": size for name, size in linear.items()}
    layer |= {f"{name}.bias": (outputs,) for name, (outputs, _) in linear.items()}
    layer |= _norm("layer_norm1", c) | _norm("layer_norm2", c)
    found = {f"layers.{path}": (c.num_layers, *shape) for path, shape in layer.items()}
    match c:
        case TextConfig():
            positions = c.max_position_embeddings
            found["embeddings.token_embedding.weight"] = (c.vocab_size, c.hidden_size)
            found |= _norm("final_layer_norm", c)
        case VisionConfig():
            positions = c.num_positions
            kernel = (c.hidden_size, c.num_channels, c.patch_size, c.patch_size)
            found["embeddings.patch_embedding.weight"] = kernel
            found["embeddings.class_embedding"] = (c.hidden_size,)
            # "layrnorm" is how the tensor is spelled in every checkpoint.
            found |= _norm("pre_layrnorm", c) | _norm("post_layernorm", c)
    found["embeddings.position_embedding.weight"] = (positions, c.hidden_size)
    if c.projection_dim is not None:
        found["projection.weight"] = (c.projection_dim, c.hidden_size)
    return found


def _norm(name: str, c: TowerConfig) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (c.hidden_size,), f"{name}.bias": (c.hidden_size,)}
