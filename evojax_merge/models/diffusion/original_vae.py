"""The names of an autoencoder's tensors in the original layout, whose decoder counts backwards."""

import re

from evojax_merge.models.vae.config import VAEConfig

_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
    "query": "q",
    "key": "k",
    "value": "v",
    "proj_attn": "proj_out",
}
"""The modules of attention, by the newer and by the older name."""

_SIDE = re.compile(r"(?P<side>encoder|decoder)\.(?P<inner>.+)")
_BLOCK = re.compile(
    r"(down|up)_blocks\.(?P<block>\d+)\.(?P<kind>resnets|downsamplers|upsamplers)\.(?P<number>\d+)"
    r"\.(?P<inner>.+)"
)
_MIDDLE = re.compile(
    r"mid_block\.(?P<kind>resnets|attentions)\.(?P<number>\d+)\.(?P<inner>.+)\.(?P<end>weight|bias)"
)


def vae_name(name: str, config: VAEConfig) -> str:
    """Return the original name of a tensor, without the prefix of the autoencoder.

    Args:
        name: The name that diffusers has.
        config: The autoencoder.
    """
    side = _SIDE.fullmatch(name)
    if side is None:  # quant_conv and post_quant_conv
        return name
    inner = side["inner"]
    if found := _BLOCK.fullmatch(inner):
        return f"{side['side']}.{_in_block(found, side['side'], len(config.channels))}"
    if found := _MIDDLE.fullmatch(inner):
        return f"{side['side']}.mid.{_in_middle(found)}"
    return f"{side['side']}.{inner.replace('conv_norm_out', 'norm_out')}"


def _in_block(found: re.Match[str], side: str, levels: int) -> str:
    block = int(found["block"])
    level = f"down.{block}" if side == "encoder" else f"up.{levels - 1 - block}"
    if found["kind"] == "resnets":
        return f"{level}.block.{found['number']}.{_resnet(found['inner'])}"
    return f"{level}.{found['kind'].removesuffix('rs')}.{found['inner']}"


def _in_middle(found: re.Match[str]) -> str:
    if found["kind"] == "resnets":
        block = int(found["number"]) + 1
        return f"block_{block}.{_resnet(found['inner'])}.{found['end']}"
    return f"attn_1.{_ATTENTION[found['inner']]}.{found['end']}"


def _resnet(inner: str) -> str:
    return inner.replace("conv_shortcut", "nin_shortcut")
