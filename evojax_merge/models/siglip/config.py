"""What distinguishes the vision tower of one SigLIP from that of another."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Self

from evojax_merge.documents.errors import shown
from evojax_merge.documents.schema import Document, number, read, whole
from evojax_merge.models.clip.config import TowerConfig

ACTIVATIONS = ("gelu_pytorch_tanh", "gelu", "quick_gelu")


@dataclasses.dataclass(frozen=True)
class SiglipVisionConfig(TowerConfig):
    """A tower over the patches of a square picture, without a class token.

    Attributes:
        use_head: Whether there are parameters that pool the states of all patches.
    """

    num_channels: int
    image_size: int
    patch_size: int
    use_head: bool

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read the fields of a ``siglip_vision_model`` that is nested as ``vision_config``.

        Raises:
            ValueError: A field has a value that is not computed.
        """
        where = "vision_config of config.json"
        given = read(_Written, {k: v for k, v in config.items() if v is not None}, where)
        if given.hidden_size % given.num_attention_heads:
            raise ValueError(
                f"{where}: hidden_size {given.hidden_size} is no multiple of its "
                f"num_attention_heads {given.num_attention_heads}"
            )
        if given.patch_size > given.image_size:
            raise ValueError(
                f"{where}: patch_size {given.patch_size} is larger than its image_size "
                f"{given.image_size}"
            )
        if given.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"{where}: hidden_act {shown(given.hidden_act)} is not supported; "
                f"supported are {', '.join(ACTIVATIONS)}"
            )
        return cls(
            hidden_size=given.hidden_size,
            intermediate_size=given.intermediate_size,
            num_layers=given.num_hidden_layers,
            num_heads=given.num_attention_heads,
            hidden_act=given.hidden_act,
            layer_norm_eps=given.layer_norm_eps,
            projection_dim=None,
            num_channels=given.num_channels,
            image_size=given.image_size,
            patch_size=given.patch_size,
            use_head=given.vision_use_head,
        )

    @property
    def grid(self) -> int:
        """The number of patches along a side, without pixels left over at the right and bottom."""
        return self.image_size // self.patch_size

    @property
    def num_positions(self) -> int:
        """The number of positions, one for each patch."""
        return self.grid**2


_Size = Annotated[int, whole(1, 2**16)]


class _Written(Document):
    """The fields, with what transformers assumes where one is not given."""

    hidden_size: _Size = 768
    intermediate_size: _Size = 3072
    num_hidden_layers: Annotated[int, whole(1, 10_000)] = 12
    num_attention_heads: _Size = 12
    num_channels: _Size = 3
    image_size: _Size = 224
    patch_size: _Size = 16
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: Annotated[float, number(0, 1)] = 1e-6
    vision_use_head: bool = True
