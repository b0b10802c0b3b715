"""Text encoders condition a UNet, as in the pipelines of diffusers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.diffusion.conditions import Conditioning, Conditions, PromptTokens
from evojax_merge.params.types import Int, Params


def prompt_tokens(
    tokenizers: Mapping[str, Any], prompts: Sequence[str], warn: Callable[[str], None] | None
) -> dict[str, Int[np.ndarray, "prompts seq"]]:
    """Turn prompts into the tokens that each encoder reads, padded and cut as diffusers does.

    Args:
        tokenizers: The tokenizer of each encoder by the encoder's name, e.g. ``text_encoder``.
        prompts: The prompts.
        warn: A function that is called at most once, where prompts were cut.
    """


def encode(
    conditioning: Conditioning,
    encoders: Mapping[str, CLIPConfig],
    params: Mapping[str, Params],
    prompts: PromptTokens,
) -> Conditions:
    """Compute what prompts condition a UNet on.

    Args:
        conditioning: How the states of the encoders become conditions.
        encoders: The configurations of the encoders by name, in their order.
        params: Their parameters by name. Other parts are not read.
        prompts: The prompts.
    """


def encode_negative(
    conditioning: Conditioning,
    encoders: Mapping[str, CLIPConfig],
    params: Mapping[str, Params],
    prompts: PromptTokens,
) -> Conditions:
    """Compute what a negative prompt conditions a UNet on: as `encode`, without ``clip_skip``."""
    raise NotImplementedError
