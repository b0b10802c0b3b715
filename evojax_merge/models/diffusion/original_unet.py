"""The names of a UNet's tensors in the original layout of Stable Diffusion and SDXL."""

import re

from evojax_merge.models.unet.config import UNetConfig

_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
"""The modules that no block on the way down or up holds."""

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""The modules of a residual block."""

_BLOCK = re.compile(
    r"(?P<way>down|up)_blocks\.(?P<block>\d+)\."
    r"(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<number>\d+)\.(?P<inner>.+)"
)


def unet_name(name: str, config: UNetConfig) -> str:
    """Return the original name of a tensor, without the prefix of the UNet.

    Args:
        name: The name that diffusers has, with or without ``.weight`` or ``.bias``.
        config: The UNet.

    Raises:
        ValueError: The layout has no name for it.
    """
    if len(set(config.layers)) != 1:
        raise ValueError(
            "the original layout has no names for a UNet with other layers_per_block in one block "
            "than in another"
        )
    found = _BLOCK.fullmatch(name)
    if found is not None:
        return _in_block(found, config)
    for module, original in _OUTSIDE.items():
        if name == module:
            return original
        if name.startswith(f"{module}."):
            inner = name.removeprefix(f"{module}.")
            return f"{original}.{_resnet(inner) if '.resnets.' in name else inner}"
    raise ValueError(f"the original layout has no name for {name} of a UNet")


def _in_block(found: re.Match[str], config: UNetConfig) -> str:
    layers, block, number = config.layers[0], int(found["block"]), int(found["number"])
    inner = found["inner"]
    if found["way"] == "down":
        first, name = 1 + block * (layers + 1), "input_blocks"
    else:
        first, name = block * (layers + 1), "output_blocks"
    match found["kind"]:
        case "resnets":
            return f"{name}.{first + number}.0.{_resnet(inner)}"
        case "attentions":
            return f"{name}.{first + number}.1.{inner}"
        case "downsamplers":
            return f"{name}.{first + layers}.0.op{inner.removeprefix('conv')}"
    level = len(config.channels) - 1 - block
    behind = 2 if config.crosses_up[level] else 1  # resnet and transformer, or a resnet alone
    return f"{name}.{first + layers}.{behind}.{inner}"


def _resnet(inner: str) -> str:
    module, dot, kind = inner.partition(".")
    return f"{RESNET[module]}{dot}{kind}"
