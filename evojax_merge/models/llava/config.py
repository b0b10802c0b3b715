"""What distinguishes one LLaVA from another, read from its ``config.json``."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from evojax_merge.documents.errors import shown
from evojax_merge.documents.schema import Document, read, whole
from evojax_merge.models.clip.config import VisionConfig
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.models.llava import text
from evojax_merge.models.llava.names import HUB, Names
from evojax_merge.models.seeing.config import SeeingConfig, nested
from evojax_merge.models.siglip.config import SiglipVisionConfig

MODEL_TYPES = ("llava", "llava_next")
Tower = VisionConfig | SiglipVisionConfig
TOWERS: Mapping[str, type[Tower]] = {
    "clip_vision_model": VisionConfig,
    "siglip_vision_model": SiglipVisionConfig,
}
"""The vision towers that are computed, by their ``model_type``."""

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "silu", "relu")

Select = Literal["default", "full"]
"""Which states of the tower become features: ``default`` leaves out the first, ``full`` none."""

# What transformers assumes where a config.json has no vision_config, and no image_grid_pinpoints.
_TOWER = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
_PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


@dataclasses.dataclass(frozen=True)
class ProjectorConfig:
    """Two linear layers that make embeddings of the language model out of a tower's states.

    Attributes:
        inputs: The width of what enters: that of the tower, times the number of its states.
        outputs: The width of the language model.
        bias: Whether the linear layers have biases.
        hidden_act: The activation between them.
        newline: Whether a vector stands beside them that ends each row of patches.
    """

    inputs: int
    outputs: int
    bias: bool
    hidden_act: str
    newline: bool


@dataclasses.dataclass(frozen=True)
class PictureConfig:
    """How pictures enter a prompt, which is known of a model without its tower, too.

    Attributes:
        token_id: The token in whose place a row of features stands.
        layers: Which states of the tower are read, counted as in ``hidden_states`` of transformers
            (see `evojax_merge.models.clip.modeling.image_states`).
        select: Which positions of the states are read.
        image_size: The height and width of a tile in pixels.
        grid: The number of patches along a side of a tile.
        positions: The number of positions of the tower, the class token included.
        pinpoints: The sizes (height, width) that a picture may be cut into tiles at, or None where
            each picture is one tile.
    """

    token_id: int
    layers: tuple[int, ...]
    select: Select
    image_size: int
    grid: int
    positions: int
    pinpoints: tuple[tuple[int, int], ...] | None

    @property
    def tile_tokens(self) -> int:
        """The number of features of a tile."""
        return self.positions - (self.select == "default")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlavaConfig(SeeingConfig):
    """A LLaVA, of which a parameter tree has all parts or some.

    Attributes:
        vision: The vision tower.
        projector: The projector.
        pictures: How pictures enter a prompt.
        names: How its files spell the names of tensors.
    """

    vision: Tower
    projector: ProjectorConfig
    pictures: PictureConfig
    names: Names = HUB

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read a ``config.json`` of model_type llava or llava_next.

        Raises:
            ValueError: The model is no LLaVA, or of a kind that this family does not compute.
        """
        kind = config.get("model_type")
        if kind not in MODEL_TYPES:
            raise ValueError(
                f"config.json: model_type {shown(kind)} is not a supported LLaVA; "
                f"supported are {', '.join(MODEL_TYPES)}"
            )
        given = read(_Written, {k: v for k, v in config.items() if v is not None}, "config.json")
        if given.projector_hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"config.json: projector_hidden_act {shown(given.projector_hidden_act)} is not "
                f"supported; supported are {', '.join(ACTIVATIONS)}"
            )
        language, vision = _language(config), _tower(config)
        pictures = _pictures(given, vision, tiled=kind == "llava_next")
        projector = ProjectorConfig(
            inputs=len(pictures.layers) * vision.hidden_size,
            outputs=language.hidden_size,
            bias=given.multimodal_projector_bias,
            hidden_act=given.projector_hidden_act,
            newline=kind == "llava_next",
        )
        return cls(text=language, vision=vision, projector=projector, pictures=pictures)

    @classmethod
    def from_files(cls, config: Mapping[str, Any], stored: Collection[str]) -> Self:
        """Read a ``config.json``, and take the spelling of the tensors' names from the files.

        Args:
            config: The content of ``config.json``.
            stored: The names of the stored tensors.

        Raises:
            ValueError: `from_hf` refuses the ``config.json``, or the files are of the format that
                LLaVA had before it was in transformers.
        """
        return dataclasses.replace(cls.from_hf(config), names=Names.of(stored))

    def spelled(self, name: str) -> str:
        """Spell the name of a tensor as the files of the model do."""
        return self.names.spelled(name)


def computes(config: Mapping[str, Any]) -> bool:
    """Tell whether the parts of a LLaVA are of types that this family computes."""
    parts = (config.get(name) or {} for name in (text.KEY, "vision_config"))
    language, tower = (part if isinstance(part, Mapping) else {} for part in parts)
    return language.get("model_type", "llama") in text.MODEL_TYPES and tower.get(
        "model_type", "clip_vision_model"
    ) in tuple(TOWERS)


_Token = Annotated[int, whole()]
_Layer = Annotated[int, whole(-10_000, 10_000)]
_Pixels = Annotated[int, whole(1, 2**16)]


class _Written(Document):
    """The fields of ``config.json``. Where one is null it says nothing."""

    image_token_index: _Token | None = None
    image_token_id: _Token | None = None
    projector_hidden_act: str = "gelu"
    vision_feature_select_strategy: Select = "default"
    vision_feature_layer: _Layer | list[_Layer] = -2
    multimodal_projector_bias: bool = True
    image_grid_pinpoints: list[list[_Pixels]] | None = None

    @property
    def image_token(self) -> int:
        """The token of pictures, under its older or its newer name."""
        given = (self.image_token_index, self.image_token_id)
        return next((one for one in given if one is not None), 32_000)


def _language(config: Mapping[str, Any]) -> DecoderConfig:
    own = text.text_config(config)
    try:
        return DecoderConfig.from_hf(own)
    except ValueError as error:
        raise ValueError(f"{text.KEY} of {error}") from error


def _tower(config: Mapping[str, Any]) -> Tower:
    given = nested(config, "vision_config") or _TOWER
    kind = given.get("model_type", "clip_vision_model")
    if not isinstance(kind, str) or kind not in TOWERS:
        raise ValueError(
            f"config.json: model_type {shown(kind)} of vision_config is not supported in a LLaVA; "
            f"supported are {', '.join(TOWERS)}"
        )
    return TOWERS[kind].from_hf(given)


def _pictures(given: _Written, tower: Tower, tiled: bool) -> PictureConfig:
    select = given.vision_feature_select_strategy
    found = PictureConfig(
        token_id=given.image_token,
        layers=_layers(given, tower),
        select=select,
        image_size=tower.image_size,
        grid=tower.grid,
        positions=tower.num_positions,
        pinpoints=_pinpoints(given, tower) if tiled else None,
    )
    if tiled and found.tile_tokens != found.grid**2:
        raise ValueError(
            f"config.json: vision_feature_select_strategy {select!r} leaves {found.tile_tokens} of "
            f"the tower's {found.positions} positions, and tiles need one for each of their "
            f"{found.grid**2} patches"
        )
    return found


def _layers(given: _Written, tower: Tower) -> tuple[int, ...]:
    """Return which states of the tower are read."""
    said = given.vision_feature_layer
    layers, most = (tuple(said) if isinstance(said, list) else (said,)), tower.num_layers
    if not layers or not all(-most - 1 <= layer <= most for layer in layers):
        raise ValueError(
            f"config.json: vision_feature_layer {shown(said)} does not exist; the tower has "
            f"{most} layers, so that its states are numbered from {-most - 1} to {most}"
        )
    return layers


def _pinpoints(given: _Written, tower: Tower) -> tuple[tuple[int, int], ...]:
    found, side = given.image_grid_pinpoints or _PINPOINTS, tower.image_size
    if any(len(size) != 2 or size[0] % side or size[1] % side for size in found):
        raise ValueError(
            f"config.json: image_grid_pinpoints must hold sizes [height, width], which are "
            f"multiples of the tower's image_size {side}; got {shown(found)}"
        )
    return tuple((height, width) for height, width in found)
