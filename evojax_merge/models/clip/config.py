"""What distinguishes one CLIP from another, read from its ``config.json``."""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any, Self

ACTIVATIONS = ("quick_gelu", "gelu")
MODEL_TYPES = ("clip", "clip_text_model", "clip_vision_model")

# The classes of transformers that each model_type may name, the one of a silent config.json first.
_ARCHITECTURES = {
    "clip": ("CLIPModel",),
    "clip_text_model": ("CLIPTextModel", "CLIPTextModelWithProjection"),
    "clip_vision_model": ("CLIPVisionModel", "CLIPVisionModelWithProjection"),
}

# What transformers assumes where a config.json is silent.
_PROJECTION_DIM = 512
_TOWER = {"num_hidden_layers": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_TEXT = _TOWER | {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "vocab_size": 49_408,
    "max_position_embeddings": 77,
    "eos_token_id": 49_407,
}
_VISION = _TOWER | {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
}


@dataclasses.dataclass(frozen=True)
class TowerConfig:
    """The fields that the text and the vision tower share. Each is a pre-norm transformer.

    ``projection_dim`` is the width of the space that texts and pictures share. It is None for a
    tower without a projection into it.
    """

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    hidden_act: str
    layer_norm_eps: float
    projection_dim: int | None


@dataclasses.dataclass(frozen=True)
class TextConfig(TowerConfig):
    """A causal tower over tokens."""

    vocab_size: int
    max_position_embeddings: int
    eos_token_id: int

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], projection_dim: int | None = None) -> Self:
        """Read the fields of a ``clip_text_model``, alone or nested as ``text_config``.

        Raises:
            ValueError: A field has a value that this family does not compute.
        """
        config = {**_TEXT, **config}
        eos = config["eos_token_id"]
        if type(eos) is not int:
            raise ValueError(
                f"config.json: eos_token_id of CLIP's text tower must be one token id; got {eos!r}"
            )
        return cls(
            **_tower(config, "text"),
            projection_dim=projection_dim,
            vocab_size=_positive(config, "vocab_size", "text"),
            max_position_embeddings=_positive(config, "max_position_embeddings", "text"),
            eos_token_id=eos,
        )


@dataclasses.dataclass(frozen=True)
class VisionConfig(TowerConfig):
    """A tower over the patches of a square picture."""

    num_channels: int
    image_size: int
    patch_size: int

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], projection_dim: int | None = None) -> Self:
        """Read the fields of a ``clip_vision_model``, alone or nested as ``vision_config``.

        Raises:
            ValueError: A field has a value that this family does not compute.
        """
        config = {**_VISION, **config}
        image, patch = (_positive(config, name, "vision") for name in ("image_size", "patch_size"))
        if patch > image:
            raise ValueError(
                f"config.json: patch_size {patch} of CLIP's vision tower is larger than its "
                f"image_size {image}"
            )
        return cls(
            **_tower(config, "vision"),
            projection_dim=projection_dim,
            num_channels=_positive(config, "num_channels", "vision"),
            image_size=image,
            patch_size=patch,
        )

    @property
    def grid(self) -> int:
        """The number of patches along a side, without pixels left over at the right and bottom."""
        return self.image_size // self.patch_size

    @property
    def num_positions(self) -> int:
        """The number of positions: one for the class token, and one for each patch."""
        return self.grid**2 + 1


@dataclasses.dataclass(frozen=True)
class CLIPConfig:
    """A CLIP has one tower or both. A checkpoint of both also has the scale of their similarity.

    Attributes:
        text: The text tower, if there is one.
        vision: The vision tower, if there is one.
        prefixed: Whether the names of all tensors say which tower they are of. For a tower that
            stands alone and has no projection, older releases of transformers write
            ``text_model.encoder.layers.0…``, and transformers 5 writes ``encoder.layers.0…``.
    """

    text: TextConfig | None
    vision: VisionConfig | None
    prefixed: bool = True

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read a ``config.json`` of model_type clip, clip_text_model or clip_vision_model.

        A ``config.json`` of one tower always has a ``projection_dim``. Only ``architectures`` says
        whether there is a projection.

        Raises:
            ValueError: The model is no CLIP, or is of a kind that this family does not compute.
        """
        kind = config.get("model_type")
        if kind not in MODEL_TYPES:
            raise ValueError(
                f"config.json: model_type {kind!r} is not a supported CLIP; "
                f"supported are {', '.join(MODEL_TYPES)}"
            )
        architecture = _architecture(config, kind)
        projected = kind == "clip" or architecture.endswith("WithProjection")
        given = {"projection_dim": _PROJECTION_DIM, **config}
        width = _positive(given, "projection_dim") if projected else None
        match kind:
            case "clip_text_model":
                return cls(TextConfig.from_hf(config, width), None, prefixed=projected)
            case "clip_vision_model":
                return cls(None, VisionConfig.from_hf(config, width), prefixed=projected)
        return cls(
            text=TextConfig.from_hf(_nested(config, "text_config"), width),
            vision=VisionConfig.from_hf(_nested(config, "vision_config"), width),
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
        found = cls.from_hf(config)
        older = any(name.startswith(("text_model.", "vision_model.")) for name in stored)
        return dataclasses.replace(found, prefixed=True) if older else found

    def with_vocabulary(self, rows: int) -> Self:
        """Return the same model with another number of tokens.

        Raises:
            ValueError: The model has no text tower.
        """
        if self.text is None:
            raise ValueError("this CLIP has no text tower, and so no tokens")
        return dataclasses.replace(self, text=dataclasses.replace(self.text, vocab_size=rows))


def _architecture(config: Mapping[str, Any], kind: str) -> str:
    """Return the class of transformers whose weights the checkpoint holds."""
    known = _ARCHITECTURES[kind]
    given = config.get("architectures") or [known[0]]
    if len(given) != 1 or given[0] not in known:
        raise ValueError(
            f"config.json: architectures {given!r} of model_type {kind!r} is not supported; "
            f"supported is {' or '.join(known)}"
        )
    return given[0]


def _nested(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the fields of one tower. The older ``<name>_dict`` replaces ``name`` altogether."""
    given = config.get(f"{name}_dict")
    if given is None:
        given = config.get(name)
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise ValueError(f"config.json: {name} must hold the fields of a tower; got {given!r}")
    return given


def _tower(config: Mapping[str, Any], tower: str) -> dict[str, Any]:
    """Read the fields of `TowerConfig`, except that of the projection."""
    width = _positive(config, "hidden_size", tower)
    heads = _positive(config, "num_attention_heads", tower)
    if width % heads:
        raise ValueError(
            f"config.json: hidden_size {width} of CLIP's {tower} tower is no multiple of its "
            f"num_attention_heads {heads}"
        )
    activation, epsilon = config["hidden_act"], config["layer_norm_eps"]
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"config.json: hidden_act {activation!r} of CLIP's {tower} tower is not supported; "
            f"supported are {', '.join(ACTIVATIONS)}"
        )
    if type(epsilon) not in (int, float) or not 0 <= epsilon < math.inf:
        raise ValueError(
            f"config.json: layer_norm_eps of CLIP's {tower} tower must be a finite number "
            f"from 0 on; got {epsilon!r}"
        )
    return {
        "hidden_size": width,
        "intermediate_size": _positive(config, "intermediate_size", tower),
        "num_layers": _positive(config, "num_hidden_layers", tower),
        "num_heads": heads,
        "hidden_act": activation,
        "layer_norm_eps": float(epsilon),
    }


def _positive(config: Mapping[str, Any], name: str, tower: str | None = None) -> int:
    value = config[name]
    if type(value) is not int or value < 1:
        where = "CLIP" if tower is None else f"CLIP's {tower} tower"
        raise ValueError(
            f"config.json: {name} of {where} must be a positive whole number; got {value!r}"
        )
    return value
