"""What the text encoders of a pipeline make of prompts, computed once for all candidates."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from evojax_merge.checkpoints import Checkpoint, load, take_parts
from evojax_merge.checkpoints.tokenizers import load_tokenizer
from evojax_merge.fitness.kept import Kept, Rows, params_hash
from evojax_merge.models.diffusion.conditioning import encode, encode_negative, prompt_tokens
from evojax_merge.models.diffusion.conditions import Conditioning, Conditions, PromptTokens
from evojax_merge.params.types import Params

FORMAT = 1
"""This is raised whenever the same prompts get other conditions, or these are kept otherwise."""

_ROWS = 16
"""How many prompts the text encoders read at a time."""


class TextEncoders:
    """The text encoders of a pipeline and their tokenizers.

    Args:
        whole: The checkpoint of the pipeline.
        conditioning: How the states of the encoders become conditions.
        tokenizers: The tokenizer of each encoder, see `tokenizers_of`.
        kept: Where conditions are kept, by the content of the weights and of the prompts.
    """

    def __init__(
        self,
        whole: Checkpoint,
        conditioning: Conditioning,
        tokenizers: Mapping[str, Any],
        kept: Kept,
    ) -> None:
        self._whole, self._conditioning = whole, conditioning
        self._tokenizers, self._kept = tokenizers, kept

    def tokens(self, prompts: Sequence[str]) -> dict[str, Any]:
        """The tokens of prompts by name of the encoder; those that are too long are cut."""
        return dict(prompt_tokens(self._tokenizers, prompts, _warn))

    def conditions(self, prompts: Sequence[str]) -> Conditions:
        """What prompts condition a UNet on, without time ids."""
        return self._encoded("conditions", encode, prompts)

    def negative(self, prompt: str) -> Conditions:
        """What guidance leads away from, in one row."""
        return self._encoded("negative_conditions", encode_negative, [prompt])

    def _encoded(
        self, name: str, run: Callable[..., Conditions], prompts: Sequence[str]
    ) -> Conditions:
        tokens, encoders = self.tokens(prompts), self._whole.config.encoders

        @jax.jit
        def program(params: Params, rows: dict[str, Any]) -> Conditions:
            return run(self._conditioning, encoders, params, PromptTokens(rows))

        def compute(places: list[int]) -> Rows:
            params, found = parts_of(self._whole, tuple(encoders), np.float32), []
            room = min(_ROWS, len(places))
            for first in range(0, len(places), room):
                own = places[first : first + room]
                padded = own + own[-1:] * (room - len(own))
                made = program(params, {key: value[padded] for key, value in tokens.items()})
                found.append([None if one is None else np.asarray(one)[: len(own)] for one in made])
            return {
                field: np.concatenate(parts)
                for field, parts in zip(Conditions._fields, zip(*found, strict=True), strict=True)
                if parts[0] is not None
            }

        if self._whole.described:
            params = parts_of(self._whole, tuple(encoders), np.float32)
            return jax.eval_shape(program, params, tokens)
        settings = {
            "format": FORMAT,
            "conditioning": repr(self._conditioning),
            "encoders": repr(encoders),
        }
        items = [
            " ".join(str(number) for own in tokens.values() for number in own[row])
            for row in range(len(prompts))
        ]
        return Conditions(**self._kept(name, self._weights, settings, items, compute))

    @functools.cached_property
    def _weights(self) -> str:
        """The hash of the encoders' weights."""
        return params_hash(parts_of(self._whole, tuple(self._whole.config.encoders), np.float32))


def parts_of(whole: Checkpoint, names: Sequence[str], dtype: Any = None) -> Params:
    """Read the parameters of some parts of a pipeline, by name.

    Args:
        whole: The checkpoint of the pipeline.
        names: The names of the parts.
        dtype: The dtype of all parameters, by default the stored one.
    """
    if not names:
        return {}
    params = load(take_parts(whole, names), dtype).params
    return params if len(names) > 1 else {names[0]: params}


def tokenizers_of(whole: Checkpoint, given: Path | None, task: str) -> dict[str, Any]:
    """The tokenizer of each text encoder of a pipeline, by name of the encoder.

    Args:
        whole: The pipeline.
        given: The folder of diffusers that has them; by default, the pipeline itself.
        task: The name of the task in messages.

    Raises:
        CheckpointError: The files of a tokenizer are damaged.
        ValueError: There is none.
    """
    found = {}
    for encoder in whole.config.encoders:
        name = encoder.replace("text_encoder", "tokenizer")
        folder = whole.components.get(name) if given is None else given / name
        tokenizer = None if folder is None else load_tokenizer(folder)
        if tokenizer is None:
            raise ValueError(
                f"{task}: prompts need the {name} of {given or whole.directory}, which has none; "
                "name a folder of diffusers that has the tokenizers of these text encoders as "
                "fitness.tokenizers"
            )
        found[encoder] = tokenizer
    return found


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)
