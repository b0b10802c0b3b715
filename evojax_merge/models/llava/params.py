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
from evojax_merge.models.layout import Layout, Leaf, Place, Stack
from evojax_merge.models.llava import text
from evojax_merge.models.llava.config import (
    LANGUAGE,
    PROJECTOR,
    TOWER,
    LlavaConfig,
    ProjectorConfig,
    Tower,
)
from evojax_merge.models.llava.names import Names
from evojax_merge.models.part import Part
from evojax_merge.models.siglip import params as siglip_params
from evojax_merge.models.siglip.config import SiglipVisionConfig

if TYPE_CHECKING:
    from evojax_merge.models.family import Family

NEWLINE = "image_newline"

BUFFERS = re.compile(rf"{decoder_params.BUFFERS.pattern}|{clip_params.BUFFERS.pattern}")


@functools.cache
def layout(config: LlavaConfig) -> Layout:
    """Make the layout: those of the parts, side by side.

    The projector counts as part of the tower's last layer, or of the language model's first where
    the tower is not there.
    """
    leaves: dict[str, Leaf] = {}
    stacks: dict[str, Stack] = {}
    aliases: dict[str, str] = {}
    if TOWER in config.present:
        for path, leaf in _tower_leaves(config.vision).items():
            leaves[f"{TOWER}.{path}"] = _tower_leaf(leaf, config.names)
        stacks[f"{TOWER}.layers"] = Stack(f"{TOWER}.layers", config.vision.num_layers)
    if LANGUAGE in config.present:
        language = decoder_params.layout(config.text)
        for path, leaf in language.leaves.items():
            leaves[f"{LANGUAGE}.{path}"] = _language_leaf(leaf, config.names)
        stacks[f"{LANGUAGE}.layers"] = Stack(f"{LANGUAGE}.layers", config.text.num_layers)
        for copy, copied in language.aliases.items():
            aliases[_language_name(copy, config.names)] = _language_name(copied, config.names)
    if PROJECTOR in config.present:
        stack = next(iter(stacks), None)
        place: Place = "first" if stack == f"{LANGUAGE}.layers" else "last"
        for path, shape in projector_shapes(config.projector).items():
            linear = re.fullmatch(r"(linear_\d)\.weight", path)
            leaves[f"{PROJECTOR}.{path}"] = Leaf(
                shape=shape,
                tensor=config.names.newline if path == NEWLINE else config.names.projector + path,
                group="projector",
                stack=stack,
                place=place,
                reads=None if linear is None else f"{PROJECTOR}.{linear[1]}",
            )
    return Layout(dict(sorted(leaves.items())), stacks, aliases)


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
    found = {}
    if TOWER in config.present:
        found[TOWER] = Part(TOWER, TOWER, "vision_config")
    if PROJECTOR in config.present:
        found[PROJECTOR] = Part(PROJECTOR, PROJECTOR)
    if LANGUAGE in config.present:
        found[LANGUAGE] = Part(LANGUAGE, LANGUAGE, text.KEY, decoder, config.text, text.text_config)
    return found


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
    return leaf._replace(
        tensor=names.tower + leaf.tensor,
        group=f"vision_{leaf.group}",
        stack=f"{TOWER}.layers",
        reads=None if leaf.reads is None else f"{TOWER}.{leaf.reads.removeprefix('vision.')}",
    )


def _language_leaf(leaf: Leaf, names: Names) -> Leaf:
    return leaf._replace(
        tensor=_language_name(leaf.tensor, names),
        stack=f"{LANGUAGE}.layers",
        reads=None if leaf.reads is None else f"{LANGUAGE}.{leaf.reads}",
    )


def _language_name(name: str, names: Names) -> str:
    """Return the name that a tensor of a decoder has in the whole."""
    if name == "lm_head.weight":
        return names.head
    return names.language + name.removeprefix("model.")
