"""Text encoders condition a UNet, as in the pipelines of diffusers."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32

from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.clip.towers import tower_of
from evojax_merge.models.diffusion.conditions import (
    Conditioning,
    Conditions,
    Pooled,
    PromptTokens,
)
from evojax_merge.params.types import Params

_LONGEST = 77
"""The number of tokens that CLIP reads, for tokenizers that do not say it."""


def prompt_tokens(
    tokenizers: Mapping[str, Any],
    prompts: Sequence[str],
    warn: Callable[[str], None] = lambda message: None,
) -> dict[str, Int32[np.ndarray, "prompts seq"]]:
    """Turn prompts into the tokens that each encoder reads, all of one length.

    A prompt is cut at the length that its encoder reads, and keeps its end token. What is after the
    end is padding of the tokenizer's own, which takes part in the states, as in diffusers.

    Args:
        tokenizers: The tokenizer of each encoder by the name of the encoder.
        prompts: The prompts.
        warn: A function that is called once if prompts were cut.
    """
    found, cut = {}, set()
    for name, tokenizer in tokenizers.items():
        longest = min(tokenizer.model_max_length, _LONGEST)
        ids = tokenizer(list(prompts), verbose=False)["input_ids"]
        cut |= {index for index, row in enumerate(ids) if len(row) > longest}
        padding = {"padding": "max_length", "max_length": longest, "truncation": True}
        found[name] = np.array(tokenizer(list(prompts), **padding)["input_ids"], np.int32)
    if cut:
        warn(
            f"{len(cut)} of {len(prompts)} prompts are longer than the {longest} tokens that a "
            f"text encoder reads, and are cut; the first of them is {prompts[min(cut)]!r}"
        )
    return found


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
    states = []
    source = None if conditioning.pooled is None else pooled_from(conditioning.pooled, encoders)
    pooled = None
    for name, encoder in encoders.items():
        text = encoder.text
        assert text is not None  # else it would be no text encoder
        tokens, tower = jnp.asarray(prompts.tokens[name]), tower_of(text, params[name]["text"])
        depth = text.num_layers - conditioning.clip_skip - (conditioning.pooled is not None)
        depths = [depth, text.num_layers] if name == source else [depth]
        found = tower.several(tower.embeddings(tokens), depths)
        states.append(found[0])
        if conditioning.pooled is None:
            states[-1] = tower.final_layer_norm(states[-1])
        if name == source:
            pooled = tower.pool(found[1], tokens)
    return Conditions(jnp.concatenate(states, axis=-1), pooled, prompts.time_ids)


def pooled_from(pooled: Pooled, encoders: Mapping[str, CLIPConfig]) -> str:
    """Return the name of the encoder whose features of the whole prompt are taken.

    Raises:
        ValueError: That encoder has no projection.
    """
    projected = [
        name for name, encoder in encoders.items() if encoder.text and encoder.text.projection_dim
    ]
    last = [*encoders][-1]
    if not projected or (pooled == "last" and last not in projected):
        raise ValueError(
            f"{last} has no text_projection, from which this UNet takes the features of a whole "
            "prompt; its config.json must name CLIPTextModelWithProjection"
        )
    return last if pooled == "last" else projected[0]


def encode_negative(
    conditioning: Conditioning,
    encoders: Mapping[str, CLIPConfig],
    params: Mapping[str, Params],
    prompts: PromptTokens,
) -> Conditions:
    """Compute what a negative prompt conditions a UNet on: as `encode`, without ``clip_skip``."""
    return encode(dataclasses.replace(conditioning, clip_skip=0), encoders, params, prompts)
