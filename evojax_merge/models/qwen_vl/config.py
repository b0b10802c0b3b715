"""What distinguishes one Qwen2.5-VL from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from evojax_merge.documents.errors import shown
from evojax_merge.documents.schema import Document, number, read, whole
from evojax_merge.models.qwen_vl import text
from evojax_merge.models.qwen_vl.names import HUB, Names
from evojax_merge.models.seeing.config import SeeingConfig, nested

MODEL_TYPES = ("qwen2_5_vl",)
TOWER_TYPES = (None, "qwen2_5_vl_vision", "qwen2_5_vl")
ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh", "relu")

_FULL = (7, 15, 23, 31)
"""The layers that transformers assumes to attend to the whole picture."""


@dataclasses.dataclass(frozen=True)
class QwenVisionConfig:
    """A vision transformer over windows of patches, and the merger of patches after it.

    Attributes:
        num_layers: The number of layers.
        hidden_size: The width of a patch's state.
        intermediate_size: The width of the gated MLP.
        num_heads: The number of heads of attention.
        num_channels: The number of channels of a picture.
        patch_size: The height and width of a patch in pixels.
        times: How many times a patch spans. Those of a still picture are alike.
        merge: How many patches down, and across, become one feature.
        window: How many features a window is high and wide.
        full: The layers that attend to the whole picture. The others attend to a window.
        outputs: The width of a feature.
        hidden_act: The activation of the MLP.
        theta: The base of the tower's RoPE.
    """

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_channels: int
    patch_size: int
    times: int
    merge: int
    window: int
    full: tuple[int, ...]
    outputs: int
    hidden_act: str
    theta: float

    @property
    def side(self) -> int:
        """The height and width of a window in patches."""
        return self.window * self.merge


@dataclasses.dataclass(frozen=True)
class PlaceConfig:
    """The tokens that stand for a picture in a prompt.

    Attributes:
        token_id: The token in whose place a feature stands.
        start_id: The token before the features of a picture.
        end_id: The token after them.
    """

    token_id: int
    start_id: int
    end_id: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class QwenVLConfig(SeeingConfig):
    """A Qwen2.5-VL, of which a parameter tree has all parts or some.

    Attributes:
        vision: The vision tower and the merger, which is the projector.
        places: How pictures enter a prompt.
        names: How its files spell the names of tensors.
        nests: Whether the fields of the language model stand in ``text_config``.
    """

    vision: QwenVisionConfig
    places: PlaceConfig
    names: Names = HUB
    nests: bool = False

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read a ``config.json`` of model_type qwen2_5_vl.

        Raises:
            ValueError: The model is no Qwen2.5-VL, or of a kind that this family does not compute.
        """
        kind = config.get("model_type")
        if kind not in MODEL_TYPES:
            raise ValueError(
                f"config.json: model_type {shown(kind)} is not a supported Qwen-VL; supported are "
                f"{', '.join(MODEL_TYPES)}"
            )
        if not computes(config):
            raise ValueError(
                "config.json: text_config and vision_config must be those of a Qwen2.5-VL"
            )
        given = read(_Places, {k: v for k, v in config.items() if v is not None}, "config.json")
        language, vision = text.language_model(config), _tower(config)
        if vision.outputs != language.hidden_size:
            raise ValueError(
                f"config.json: out_hidden_size of vision_config is {vision.outputs}, and the "
                f"language model has the hidden_size {language.hidden_size}; they must be equal"
            )
        ids = (given.image_token_id, given.vision_start_token_id, given.vision_end_token_id)
        return cls(
            text=language,
            vision=vision,
            places=PlaceConfig(*ids),
            nests=bool(nested(config, text.KEY)),
        )

    @classmethod
    def from_files(cls, config: Mapping[str, Any], stored: Collection[str]) -> Self:
        """Read a ``config.json``, and take the spelling of the tensors' names from the files.

        Args:
            config: The content of ``config.json``.
            stored: The names of the stored tensors.

        Raises:
            ValueError: `from_hf` refuses the ``config.json``.
        """
        return dataclasses.replace(cls.from_hf(config), names=Names.of(stored))

    def spelled(self, name: str) -> str:
        """Spell the name of a tensor as the files of the model do."""
        return self.names.spelled(name)


def computes(config: Mapping[str, Any]) -> bool:
    """Tell whether the parts of a Qwen2.5-VL are of types that this family computes."""
    kinds = []
    for key in (text.KEY, "vision_config"):
        part = config.get(key) or {}
        kinds.append(part.get("model_type") if isinstance(part, Mapping) else None)
    return kinds[0] in text.MODEL_TYPES and kinds[1] in TOWER_TYPES


def _tower(config: Mapping[str, Any]) -> QwenVisionConfig:
    fields = {k: v for k, v in nested(config, "vision_config").items() if v is not None}
    given = read(_Vision, fields, "config.json, vision_config")
    if given.hidden_act not in ACTIVATIONS:
        raise ValueError(
            f"config.json: hidden_act {shown(given.hidden_act)} of vision_config is not "
            f"supported; supported are {', '.join(ACTIVATIONS)}"
        )
    heads, full = given.num_heads, given.fullatt_block_indexes
    if given.hidden_size % heads or (given.hidden_size // heads) % 4:
        raise ValueError(
            f"config.json: hidden_size {given.hidden_size} of vision_config makes no {heads} heads "
            "of a multiple of 4 channels, of which positions down and across turn pairs"
        )
    window = given.window_size // given.spatial_merge_size // given.patch_size
    if window < 1:
        raise ValueError(
            f"config.json: window_size {given.window_size} of vision_config is smaller than the "
            f"{given.spatial_merge_size} patches of {given.patch_size} pixels that are merged"
        )
    rope = read(_Rope, nested(fields, "rope_parameters"), "config.json, vision_config")
    if rope.rope_type != "axial":
        raise ValueError(
            f"config.json: RoPE of type {shown(rope.rope_type)} is not supported in vision_config; "
            "supported is axial"
        )
    return QwenVisionConfig(
        num_layers=given.depth,
        hidden_size=given.hidden_size,
        intermediate_size=given.intermediate_size,
        num_heads=heads,
        num_channels=given.in_channels,
        patch_size=given.patch_size,
        times=given.temporal_patch_size,
        merge=given.spatial_merge_size,
        window=window,
        full=_FULL if full is None else tuple(sorted(full)),
        outputs=given.out_hidden_size,
        hidden_act=given.hidden_act,
        theta=rope.rope_theta,
    )


_Size = Annotated[int, whole(1, 2**24)]
_Few = Annotated[int, whole(1, 2**12)]
_Token = Annotated[int, whole()]


class _Places(Document):
    """The fields of ``config.json`` that say how pictures enter a prompt."""

    image_token_id: _Token = 151_655
    vision_start_token_id: _Token = 151_652
    vision_end_token_id: _Token = 151_653


class _Vision(Document):
    """The fields of ``vision_config``, with what transformers assumes where they are silent."""

    depth: Annotated[int, whole(1, 10_000)] = 32
    hidden_size: _Size = 3584
    hidden_act: str = "silu"
    intermediate_size: _Size = 3420
    num_heads: Annotated[int, whole(1, 2**16)] = 16
    in_channels: _Few = 3
    patch_size: _Few = 14
    spatial_merge_size: _Few = 2
    temporal_patch_size: _Few = 2
    window_size: _Few = 112
    out_hidden_size: _Size = 3584
    fullatt_block_indexes: list[Annotated[int, whole()]] | None = None


class _Rope(Document):
    """The fields of ``rope_parameters`` of a tower."""

    rope_theta: Annotated[float, number(1e-30, 1e30)] = 10_000.0
    rope_type: str = "axial"
