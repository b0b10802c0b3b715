"""What a UNet is told of the picture that it is to draw, and how that comes of a prompt."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np

from evojax_merge.params.types import Array, Float, Int

Pooled = Literal["first_projected", "last"]
"""The text encoder whose features of the whole prompt the UNet of an SDXL is given.

``last`` is the last encoder. ``first_projected`` is the first one that has a projection. The two
differ where the first encoder has a projection, too, as that of Japanese Stable Diffusion XL has.
Releases of diffusers before January 2025 took the last, later ones take the first with a projection
(huggingface/diffusers, pull request 7926).
"""


class Conditions(NamedTuple):
    """What a UNet is told of each picture.

    Attributes:
        context: The states of its prompt, which the UNet attends to.
        pooled: The features of its whole prompt, or None where the UNet has no use for them.
        time_ids: The sizes that it is drawn for (see `time_ids`), or None likewise.
    """

    context: Float[Array | np.ndarray, "rows seq width"]
    pooled: Float[Array | np.ndarray, "rows features"] | None = None
    time_ids: Float[Array | np.ndarray, "rows ids"] | None = None


class PromptTokens(NamedTuple):
    """A prompt of each picture, as text encoders read it.

    Attributes:
        tokens: The token ids by name of the encoder, padded on the right.
        time_ids: As in `Conditions`.
    """

    tokens: dict[str, Int[Array | np.ndarray, "rows seq"]]
    time_ids: Float[Array | np.ndarray, "rows ids"] | None = None


@dataclasses.dataclass(frozen=True)
class Conditioning:
    """How the states of text encoders become conditions.

    Stable Diffusion's context is what its encoder gives after all layers and the final norm. That
    of SDXL is the states of all encoders side by side that enter the last layer of each, without
    a norm.

    Attributes:
        pooled: The encoder whose features of the whole prompt are taken, or None where none are,
            as in Stable Diffusion.
        clip_skip: How many more of the last layers do not run. It does not hold for the negative
            prompt, as in diffusers.
        zeros: Whether all conditions are zeros where there is no negative prompt. Otherwise that is
            the empty text.
    """

    pooled: Pooled | None = None
    clip_skip: int = 0
    zeros: bool = False

    @classmethod
    def from_hf(
        cls,
        model_index: Mapping[str, Any],
        *,
        pooled: str = "first_projected",
        clip_skip: int = 0,
    ) -> Self:
        """Read the ``model_index.json`` of a pipeline.

        Args:
            model_index: The content of the file.
            pooled: See `Pooled`. It is not used where no pooled features are.
            clip_skip: See `Conditioning`.

        Raises:
            ValueError: A setting has a value that does not exist.
        """
        if pooled not in get_args(Pooled):
            raise ValueError(f"pooled must be {' or '.join(get_args(Pooled))}; got {pooled!r}")
        if type(clip_skip) is not int or clip_skip < 0:
            raise ValueError(f"clip_skip must be a whole number from 0 on; got {clip_skip!r}")
        if not str(model_index.get("_class_name")).startswith("StableDiffusionXL"):
            return cls(clip_skip=clip_skip)
        zeros = model_index.get("force_zeros_for_empty_prompt", True)
        return cls(pooled, clip_skip, zeros=zeros)  # type: ignore[arg-type]


def time_ids(
    height: int,
    width: int,
    *,
    original: tuple[int, int] | None = None,
    crop: tuple[int, int] = (0, 0),
    target: tuple[int, int] | None = None,
) -> Float[np.ndarray, " ids"]:
    """Return the six numbers by which SDXL is told of sizes, each a height before a width.

    Source: Podell et al., 2023, arXiv 2307.01952, section 2.2.

    Args:
        height: The height of the picture in pixels.
        width: Its width in pixels.
        original: The size that a photograph would have had before it was scaled; by default, that
            of the picture.
        crop: How much of it would have been cut off at the top and at the left.
        target: The size that it would have been cut to; by default, that of the picture.
    """
    size = (height, width)
    return np.array([*(original or size), *crop, *(target or size)], np.float32)
