"""The place of each tensor of a Qwen2.5-VL in the parameter tree, its shape and its use.

The tree has a branch for each part. Files hold the merger of patches inside of the tower. It is the
projector here, as it makes embeddings of the language model out of the tower's states: people merge
it with the one or with the other, or leave it as it is.
"""

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evojax_merge.models.decoder import params as decoder_params
from evojax_merge.models.layout import Layout, Leaf
from evojax_merge.models.part import OUTSIDE, Part
from evojax_merge.models.qwen_vl import text
from evojax_merge.models.qwen_vl.config import QwenVisionConfig, QwenVLConfig
from evojax_merge.models.qwen_vl.names import Names
from evojax_merge.models.seeing.layout import seeing_layout, seeing_parts

if TYPE_CHECKING:
    from evojax_merge.models.family import Family

BUFFERS = re.compile(rf"{decoder_params.BUFFERS.pattern}|(.*\.)?rotary_pos_emb\.inv_freq")

# Path within the part -> name after the beginning that the part's names have.
_TOWER = {"patch_embed.weight": "patch_embed.proj.weight"}
_PROJECTOR = {
    "norm.weight": "merger.ln_q.weight",
    "linear_1.weight": "merger.mlp.0.weight",
    "linear_1.bias": "merger.mlp.0.bias",
    "linear_2.weight": "merger.mlp.2.weight",
    "linear_2.bias": "merger.mlp.2.bias",
}
_GROUPS = (("norm", "norm"), ("attn", "attention"), ("mlp", "mlp"), ("patch_embed", "embedding"))


@functools.cache
def layout(config: QwenVLConfig) -> Layout:
    """Make the layout: those of the parts, side by side (see `seeing_layout`)."""
    visual = config.names.visual
    projector = {
        path: _linear(Leaf(shape, visual + _PROJECTOR[path], "projector"), path)
        for path, shape in projector_shapes(config.vision).items()
    }
    return seeing_layout(
        config,
        {path: _tower_leaf(path, s, visual) for path, s in tower_shapes(config.vision).items()},
        config.vision.num_layers,
        projector,
        functools.partial(_language_name, names=config.names),
    )


def hf_fields(config: QwenVLConfig) -> dict[str, object]:
    """Return the fields of ``config.json`` that a merge may have changed: there are none.

    A merge has those of the model that it is exported into.
    """
    return {}


def parts(config: QwenVLConfig, decoder: "Family") -> Mapping[str, Part]:
    """Return the parts of a model that are there, by name.

    Args:
        config: The model.
        decoder: The family of language models.
    """
    sections = config.text.rope.sections

    def inside(own: Any) -> Any:
        return text.with_sections(own, sections)

    key = text.KEY if config.nests else OUTSIDE
    return seeing_parts(config, decoder, key, text.text_config, inside)


def tower_shapes(c: QwenVisionConfig) -> dict[str, tuple[int, ...]]:
    """Map each path within the tower to its shape. Stacked ones begin with the layers."""
    wide, inner = c.hidden_size, c.intermediate_size
    linear = {
        "attn.qkv": (3 * wide, wide),
        "attn.proj": (wide, wide),
        "mlp.gate_proj": (inner, wide),
        "mlp.up_proj": (inner, wide),
        "mlp.down_proj": (wide, inner),
    }
    layer: dict[str, tuple[int, ...]] = {"norm1.weight": (wide,), "norm2.weight": (wide,)}
    layer |= {f"{name}.weight": shape for name, shape in linear.items()}
    layer |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    found = {f"layers.{path}": (c.num_layers, *shape) for path, shape in layer.items()}
    patch = (c.num_channels, c.times, c.patch_size, c.patch_size)
    return {"patch_embed.weight": (wide, *patch), **found}


def projector_shapes(c: QwenVisionConfig) -> dict[str, tuple[int, ...]]:
    """Map each path within the projector to its shape."""
    merged = c.hidden_size * c.merge**2
    return {
        "norm.weight": (c.hidden_size,),
        "linear_1.weight": (merged, merged),
        "linear_1.bias": (merged,),
        "linear_2.weight": (c.outputs, merged),
        "linear_2.bias": (c.outputs,),
    }


def _tower_leaf(path: str, shape: tuple[int, ...], visual: str) -> Leaf:
    stacked = path.startswith("layers.")
    name = path.replace("layers.", "blocks.{layer}.", 1) if stacked else _TOWER[path]
    group = next(group for key, group in _GROUPS if key in path)
    leaf = Leaf(shape, visual + name, group, place="each" if stacked else "first")
    return _linear(leaf, path) if stacked else leaf


def _linear(leaf: Leaf, path: str) -> Leaf:
    """Say which linear layer stands for all that read its input, where the leaf is a weight."""
    name, _, kind = path.rpartition(".")
    if kind != "weight" or "norm" in name:
        return leaf
    return leaf._replace(reads=name.replace("up_proj", "gate_proj"))


def _language_name(name: str, names: Names) -> str:
    """Return the name that a tensor of a decoder has in the whole."""
    if name == "lm_head.weight":
        return names.head
    return names.language + name.removeprefix("model.")
