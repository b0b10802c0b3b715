"""How the original layout (sgm, LDM) of a single file names the tensors of a pipeline.

WebUIs and ComfyUI load this layout. A tensor is known by the name that diffusers has for it,
``unet/conv_in.weight``, and stands in the file as a `Place` says.
"""

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.diffusion.config import TEXT_2, UNET, VAE, DiffusionConfig
from evojax_merge.models.diffusion.original_unet import unet_name
from evojax_merge.models.diffusion.original_vae import vae_name
from evojax_merge.models.diffusion.params import layout

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."


class Place(NamedTuple):
    """Where a tensor stands in a single file.

    Attributes:
        name: The name of the stored tensor.
        rows: The part of its rows, ``(part, parts)``, where several tensors are stored as one.
        transposed: Whether it is stored with rows for columns.
    """

    name: str
    rows: tuple[int, int] | None = None
    transposed: bool = False


@functools.lru_cache(maxsize=16)
def places(config: DiffusionConfig) -> Mapping[str, Place]:
    """Return the place of every tensor of the parts that are present.

    Raises:
        ValueError: The original layout has no name for a tensor of such an architecture.
    """
    found = {}
    for whole in layout(config).slots:
        part, _, name = whole.partition("/")
        if part == UNET:
            found[whole] = Place(UNET_PREFIX + unet_name(name, config.unet))
        elif part == VAE:
            found[whole] = Place(VAE_PREFIX + vae_name(name, config.vae))
        else:
            found[whole] = _encoder_place(part, name, config)
    return found


def _encoder_place(part: str, name: str, config: DiffusionConfig) -> Place:
    """Return the place of a tensor of a text encoder.

    SDXL has CLIP's first encoder as transformers has it, and the second as OpenCLIP has it. SD 1.x
    has the one and SD 2.x the other, which its activation tells.
    """
    inner = name.removeprefix("text_model.")
    if config.text_encoder_2 is not None:
        if part == TEXT_2:
            return _open_clip_place("conditioner.embedders.1.model.", inner)
        return _clip_place("conditioner.embedders.0.transformer.", inner)
    if is_open_clip(config.text_encoder):
        return _open_clip_place("cond_stage_model.model.", inner)
    return _clip_place("cond_stage_model.transformer.", inner)


def is_open_clip(encoder: CLIPConfig) -> bool:
    """Tell whether a pipeline's only text encoder is one of OpenCLIP."""
    return encoder.text is not None and encoder.text.hidden_act == "gelu"


def _clip_place(prefix: str, name: str) -> Place:
    outside = name.startswith("text_projection.")
    return Place(prefix + name if outside else f"{prefix}text_model.{name}")


_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}

_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}

_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")

_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def _open_clip_place(prefix: str, name: str) -> Place:
    """Return the place of a tensor in OpenCLIP, where queries, keys and values are one tensor."""
    if name == "text_projection.weight":
        return Place(f"{prefix}text_projection", transposed=True)
    if name in _OPEN_CLIP:
        return Place(prefix + _OPEN_CLIP[name])
    found = _LAYER.fullmatch(name)
    if found is None:
        raise ValueError(f"the original layout has no name for {name} of OpenCLIP")
    layer = f"{prefix}transformer.resblocks.{found[1]}"
    if found[2] in _QKV:
        rows = _QKV.index(found[2]), len(_QKV)
        return Place(f"{layer}.attn.in_proj_{found[3]}", rows)
    return Place(f"{layer}.{_OPEN_CLIP_LAYER[found[2]]}.{found[3]}")
