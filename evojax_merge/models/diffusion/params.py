"""The place of each tensor of a pipeline in the parameter tree: a branch for each part.

The tensor of a leaf is called as in the files of its part, behind the name of the part's folder:
``unet/down_blocks.0.resnets.0.conv1.weight``.
"""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evojax_merge.models.clip import params as clip_params
from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.diffusion.config import UNET, DiffusionConfig, PartConfig
from evojax_merge.models.layout import Layout, Leaf, Stack
from evojax_merge.models.part import Part
from evojax_merge.models.unet import params as unet_params
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.vae import params as vae_params

if TYPE_CHECKING:
    from evojax_merge.models.family import Family


@functools.cache
def layout(config: DiffusionConfig) -> Layout:
    """Make the layout: those of the parts, side by side."""
    leaves: dict[str, Leaf] = {}
    stacks: dict[str, Stack] = {}
    for name, part in config.parts.items():
        own = part_layout(part)
        for path, leaf in own.leaves.items():
            leaves[f"{name}.{path}"] = _within(name, leaf)
        for stack in own.stacks.values():
            stacks[f"{name}.{stack.name}"] = Stack(f"{name}.{stack.name}", stack.depth)
    return Layout(dict(sorted(leaves.items())), stacks)


def part_layout(config: PartConfig) -> Layout:
    """Make the layout that a part has as a model by itself."""
    if isinstance(config, UNetConfig):
        return unet_params.layout(config)
    if isinstance(config, CLIPConfig):
        return clip_params.layout(config)
    return vae_params.layout(config)


def hf_fields(config: DiffusionConfig) -> dict[str, object]:
    """Return the fields of the configuration that a merge may have changed: there are none."""
    return {}


def parts(config: DiffusionConfig, families: Mapping[str, "Family"]) -> dict[str, Part]:
    """Return the parts of a pipeline that are there, by name. The UNet alone is merged by default.

    Args:
        config: The pipeline.
        families: The family of each part, by the part's name.
    """
    return {
        name: Part(
            name=name,
            prefix=name,
            hf_config=name,
            family=families[name],
            config=part,
            own_hf_config=functools.partial(_own_hf_config, name),
            merged=name == UNET,
        )
        for name, part in config.parts.items()
    }


def _own_hf_config(name: str, hf_config: Mapping[str, Any]) -> dict[str, Any]:
    return dict(hf_config[name])


def _within(name: str, leaf: Leaf) -> Leaf:
    """Return a leaf of a part as a leaf of the whole."""
    return leaf._replace(
        tensor=f"{name}/{leaf.tensor}",
        stack=None if leaf.stack is None else f"{name}.{leaf.stack}",
        reads=None if leaf.reads is None else f"{name}.{leaf.reads}",
    )
