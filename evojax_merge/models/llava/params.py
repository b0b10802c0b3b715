"""The place of each tensor of a LLaVA in the parameter tree, its shape and its use.

The tree has a branch for each part, which is the tree of a decoder or of a CLIP's vision tower as
it stands alone. Layers of the tower after the one whose states are read, and the norm after them,
have no effect on anything. They are leaves all the same, so that a merge writes every tensor.
"""

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from evojax_merge.models.clip import params as clip_params
from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.decoder import params as decoder_params
from evojax_merge.models.layout import Layout, Leaf
from evojax_merge.models.llava import text
from evojax_merge.models.llava.config import LlavaConfig, ProjectorConfig, Tower
from evojax_merge.models.llava.names import Names
from evojax_merge.models.part import Part
from evojax_merge.models.seeing.layout import seeing_layout, seeing_parts
from evojax_merge.models.siglip import params as siglip_params
from evojax_merge.models.siglip.config import SiglipVisionConfig

if TYPE_CHECKING:
    from evojax_merge.models.family import Family

NEWLINE = "image_newline"

BUFFERS = re.compile(rf"{decoder_params.BUFFERS.pattern}|{clip_params.BUFFERS.pattern}")


@functools.cache
def layout(config: LlavaConfig) -> Layout:
    """Make the layout: those of the parts, side by side (see `seeing_layout`)."""
    names = config.names
    return seeing_layout(
        config,
        {path: _tower_leaf(leaf, names) for path, leaf in _tower_leaves(config.vision).items()},
        config.vision.num_layers,
        _projector_leaves(config.projector, names),
        functools.partial(_language_name, names=names),
    )


def hf_fields(config: LlavaConfig) -> dict[str, object]:
    """Return the fields of ``config.json`` that a merge may have changed: there are none.

    A merge has those of the model that it is exported into.
    """
    return {}


def parts(config: LlavaConfig, decoder: "Family") -> Mapping[str, Part]:
    """Return the parts of a model that are there, by name.

    Args:
        config: The model.
        decoder: The family of language models.
    """
    return seeing_parts(config, decoder, text.KEY, text.text_config)


def projector_shapes(c: ProjectorConfig) -> dict[str, tuple[int, ...]]:
    """Map each path within the projector to its shape."""
    found: dict[str, tuple[int, ...]] = {
        "linear_1.weight": (c.outputs, c.inputs),
        "linear_2.weight": (c.outputs, c.outputs),
    }
    if c.bias:
        found |= {"linear_1.bias": (c.outputs,), "linear_2.bias": (c.outputs,)}
    if c.newline:
        found[NEWLINE] = (c.outputs,)
    return found


def _tower_leaves(config: Tower) -> Mapping[str, Leaf]:
    """Return the leaves of a tower, by their paths within it."""
    if isinstance(config, SiglipVisionConfig):
        return siglip_params.leaves(config)
    alone = clip_params.layout(CLIPConfig(None, config, prefixed=False))
    return {path.removeprefix("vision."): leaf for path, leaf in alone.leaves.items()}


def _tower_leaf(leaf: Leaf, names: Names) -> Leaf:
    reads = None if leaf.reads is None else leaf.reads.removeprefix("vision.")
    return leaf._replace(tensor=names.tower + leaf.tensor, reads=reads)


def _projector_leaves(config: ProjectorConfig, names: Names) -> dict[str, Leaf]:
    found = {}
    for path, shape in projector_shapes(config).items():
        linear = re.fullmatch(r"(linear_\d)\.weight", path)
        found[path] = Leaf(
            shape=shape,
            tensor=names.newline if path == NEWLINE else names.projector + path,
            group="projector",
            reads=None if linear is None else linear[1],
        )
    return found


def _language_name(name: str, names: Names) -> str:
    """Return the name that a tensor of a decoder has in the whole."""
    if name == "lm_head.weight":
        return names.head
    return names.language + name.removeprefix("model.")
