"""How files spell what a LoRA of a diffusion model adapts: those of kohya, diffusers and PEFT."""

import contextlib
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from evojax_merge.models.diffusion.original_unet import unet_name
from evojax_merge.models.unet.config import UNetConfig

_SIDES = {
    ".lora_down.weight": "A",
    ".lora_up.weight": "B",
    ".lora.down.weight": "A",
    ".lora.up.weight": "B",
    ".lora_A.weight": "A",
    ".lora_B.weight": "B",
    ".lora_A.default.weight": "A",
    ".lora_B.default.weight": "B",
    "_lora.down.weight": "A",
    "_lora.up.weight": "B",
    ".alpha": "alpha",
}
"""The ends of the names of factors, and of what scales them."""

_OTHERS = re.compile(
    r".*(\.lora_mid\.|\.hada_|\.lokr_|\.oft_|dora_scale|lora_magnitude).*|.+\.(diff(_b)?|[wb]_norm)"
)
"""The names of tensors of other kinds than LoRA."""

_ENCODERS = ("lora_te_", "lora_te1_", "lora_te2_", "text_encoder.", "text_encoder_2.")
"""The beginnings of modules of text encoders."""

_PEFT = "base_model.model."

_PREFIXES = ("lora_unet_", "unet.", "model.diffusion_model.", "diffusion_model.")
"""The beginnings of modules of a UNet, which files of a UNet alone may lack."""


class Factor(NamedTuple):
    """What a name in a file says.

    Attributes:
        module: The module as the file spells it, without what says that it is one of the UNet.
        side: ``A``, ``B`` or ``alpha``.
        encoder: Whether the module is one of a text encoder.
    """

    module: str
    side: str
    encoder: bool


def factor_of(name: str) -> Factor | None:
    """Read the name of a tensor, or return None where it is no factor's."""
    for end, side in _SIDES.items():
        if not name.endswith(end):
            continue
        module = name.removesuffix(end)
        if end.startswith("_lora"):  # of attention processors, before diffusers 0.22
            module = module.replace(".processor.", ".")
            module += ".0" if module.endswith(".to_out") else ""
        module = module.removeprefix(_PEFT)
        prefix = next((one for one in _PREFIXES if module.startswith(one)), "")
        return Factor(module.removeprefix(prefix), side, module.startswith(_ENCODERS))
    return None


def is_lora_name(name: str) -> bool:
    """Tell whether a name is one of a file of LoRA, or of a kind that is like it."""
    if name.startswith("lora_") or _OTHERS.fullmatch(name):
        return True
    found = factor_of(name)
    return found is not None and found.side != "alpha"


def other_kind(name: str) -> bool:
    """Tell whether a name is that of a tensor that plain LoRA does not have."""
    return _OTHERS.fullmatch(name) is not None


def spellings(modules: Collection[str], config: UNetConfig) -> Mapping[str, str]:
    """Return the modules of a UNet by every spelling of their names.

    Kohya's files have underscores for dots, and name the modules of SDXL as the original layout
    does. ComfyUI has that layout with dots.

    Args:
        modules: The modules, as diffusers names them.
        config: The UNet.
    """
    found: dict[str, str] = {}
    for module in modules:
        names = [module]
        with contextlib.suppress(ValueError):  # where the original layout has no name
            names.append(unet_name(module, config))
        for name in names:
            found[name] = module
            found[name.replace(".", "_")] = module
    return found
