"""The pipeline around a UNet: what all candidates have in common when they draw."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from evojax_merge.checkpoints import Checkpoint, load, resolve, take_parts
from evojax_merge.checkpoints.pipelines import INDEX_KEY
from evojax_merge.checkpoints.tokenizers import load_tokenizer
from evojax_merge.fitness.drawing.sampling import Sampling
from evojax_merge.fitness.kept import Kept, Rows, params_hash
from evojax_merge.models.diffusion.conditioning import (
    encode,
    encode_negative,
    pooled_from,
    prompt_tokens,
)
from evojax_merge.models.diffusion.conditions import (
    Conditioning,
    Conditions,
    PromptTokens,
    time_ids,
)
from evojax_merge.models.diffusion.config import SCHEDULER, UNET, VAE, DiffusionConfig
from evojax_merge.models.diffusion.schedule import Sampler
from evojax_merge.models.request import Draw
from evojax_merge.params.types import Params

CLASS = "_class_name"
"""The key of the class of diffusers that runs a pipeline."""

FORMAT = 1
"""This is raised whenever the same prompts get other conditions, or these are kept otherwise."""

_DECODING = ("decoder", "post_quant_conv")
"""The parts of an autoencoder that latents pass on their way to a picture."""

_ROWS = 16
"""How many prompts the text encoders read at a time."""


class Pipeline:
    """A pipeline whose UNet is merged, and how it draws.

    Files are checked when it is made. Weights are read when they are first asked for.

    Args:
        whole: The checkpoint of the pipeline.
        sampling: How pictures are drawn.
        task: The name of the task in messages.
        kept_in: Where conditions are kept, see `evojax_merge.fitness.kept.Kept`.
        tokenizers: The directory or hub id of a folder of diffusers whose tokenizers read the
            prompts; by default, the pipeline itself.

    Attributes:
        size: The height and width of pictures.
        guided: Whether there is guidance, so that a negative prompt counts.

    Raises:
        ValueError: The pipeline cannot draw so.
    """

    def __init__(
        self,
        whole: Checkpoint,
        sampling: Sampling,
        task: str,
        kept_in: str | None,
        tokenizers: str | None = None,
    ) -> None:
        self._whole, self._sampling, self._task = whole, sampling, task
        self._given = tokenizers
        self._config: DiffusionConfig = whole.config
        self.guided = sampling.guidance > 1
        self.size = _size(self._config, sampling, f"{task}: {whole.directory}")
        try:
            self._sampler = Sampler.from_hf(
                whole.hf_config.get(SCHEDULER) or {},
                sampling.steps,
                kind=sampling.sampler,
                timestep_spacing=sampling.spacing,
                prediction_type=sampling.prediction,
            )
            self._conditioning = Conditioning.from_hf(
                {**whole.hf_config.get(INDEX_KEY, {}), CLASS: whole.hf_config[CLASS]},
                pooled=sampling.pooled,
                clip_skip=sampling.clip_skip,
            )
            if self._conditioning.pooled is not None:
                pooled_from(self._conditioning.pooled, self._config.encoders)
        except ValueError as error:
            raise ValueError(f"{task}: {whole.directory}: {error}") from error
        given = None if tokenizers is None else resolve(tokenizers)
        self._tokenizers = tokenizers_of(whole, given, task)
        self._kept = Kept(kept_in, "conditions of prompts")

    @classmethod
    def of(
        cls,
        model: Any,
        sampling: Sampling,
        task: str,
        kept_in: str | None,
        tokenizers: str | None = None,
    ) -> Self:
        """Find the pipeline around a model.

        Args:
            model: A model or a checkpoint.
            sampling: How pictures are drawn.
            task: The name of the task in messages.
            kept_in: Where conditions are kept.
            tokenizers: See `Pipeline`.

        Raises:
            ValueError: The model does not draw, there is no pipeline around it, or more of it is
                merged than its UNet.
        """
        carrier: Checkpoint | None = getattr(model, "carrier", None)
        whole = carrier or model
        family = getattr(getattr(model, "family", None), "name", None)
        if not isinstance(getattr(whole, "config", None), DiffusionConfig):
            if family == UNET:
                raise ValueError(
                    f"{task}: {model.directory} is a UNet alone, and pictures need the text "
                    "encoders and the autoencoder around it; give the whole pipeline, a folder "
                    "with model_index.json or a single file, as model.base, in model.sources or "
                    "as model.carrier"
                )
            raise ValueError(
                f"{task}: this task needs a model that can {Draw.needs}, as Stable Diffusion, and "
                f"this one is a {family or type(model).__name__}"
            )
        merged = model.parts if carrier is not None else whole.config.present
        if tuple(merged) != (UNET,):
            raise ValueError(
                f"{task}: prompts are read once for all candidates, and {', '.join(merged)} are "
                f"merged; merge the UNet alone, by model.parts=[{UNET}]"
            )
        return cls(whole, sampling, task, kept_in, tokenizers)

    def alike(self, other: "Pipeline") -> bool:
        """Whether another draws the same pictures."""
        own, others = ((one._whole, one._sampling, one._given) for one in (self, other))
        return own == others

    @property
    def sampling(self) -> Sampling:
        """The settings, with the size of the pictures in them."""
        height, width = self.size
        return dataclasses.replace(self._sampling, height=height, width=width)

    def request(self, judge: Callable[..., Any] | None, judge_bytes: int) -> Draw:
        """The request for pictures, or for what a judge says of them."""
        return Draw(
            sampler=self._sampler,
            guidance=float(self._sampling.guidance),
            height=self.size[0],
            width=self.size[1],
            vae=self._config.vae,
            judge=judge,
            judge_bytes=judge_bytes if judge is not None else 0,
            rows=self._sampling.rows,
        )

    @functools.cached_property
    def params(self) -> Params:
        """The parameters of the autoencoder, without the encoder of pictures."""
        dtype = np.float32 if self._config.vae.force_upcast else None
        params = load(take_parts(self._whole, (VAE,)), dtype).params
        return {VAE: {name: own for name, own in params.items() if name in _DECODING}}

    def conditions(self, prompts: Sequence[str]) -> Conditions:
        """What prompts condition a UNet on; it is kept on disk and found there by later runs."""
        return self._encoded("conditions", encode, prompts)

    def negative(self, prompt: str) -> Conditions | None:
        """What guidance leads away from; None for zeros."""
        if not prompt and self._conditioning.zeros:
            return None
        return self._encoded("negative_conditions", encode_negative, [prompt])._replace(
            time_ids=None
        )

    def _encoded(
        self, name: str, run: Callable[..., Conditions], prompts: Sequence[str]
    ) -> Conditions:
        tokens = prompt_tokens(self._tokenizers, prompts, _warn)
        encoders = self._config.encoders

        @jax.jit
        def program(params: Params, rows: dict[str, Any]) -> Conditions:
            return run(self._conditioning, encoders, params, PromptTokens(rows))

        def compute(places: list[int]) -> Rows:
            params, found = self._encoders(), []
            room = min(_ROWS, len(places))
            for first in range(0, len(places), room):
                own = places[first : first + room]
                padded = own + own[-1:] * (room - len(own))
                made = program(params, {key: value[padded] for key, value in tokens.items()})
                found.append(
                    [None if leaf is None else np.asarray(leaf)[: len(own)] for leaf in made]
                )
            return {
                field: np.concatenate(parts)
                for field, parts in zip(Conditions._fields, zip(*found, strict=True), strict=True)
                if parts[0] is not None
            }

        found = self._kept(
            name,
            self._weights,
            {
                "format": FORMAT,
                "conditioning": repr(self._conditioning),
                "encoders": repr(encoders),
            },
            [
                " ".join(str(number) for own in tokens.values() for number in own[row])
                for row in range(len(prompts))
            ],
            compute,
        )
        sizes = None
        if "pooled" in found:
            sizes = np.repeat(time_ids(*self.size)[None], len(prompts), axis=0)
        return Conditions(**found)._replace(time_ids=sizes)

    def _encoders(self) -> Params:
        """Read the parameters of the text encoders, by name."""
        names = tuple(self._config.encoders)
        params = load(take_parts(self._whole, names), np.float32).params
        return params if len(names) > 1 else {names[0]: params}

    @functools.cached_property
    def _weights(self) -> str:
        """The hash of the text encoders' weights."""
        return params_hash(self._encoders())


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


def _size(config: DiffusionConfig, sampling: Sampling, where: str) -> tuple[int, int]:
    """The height and width of pictures.

    Raises:
        ValueError: There is none, or latents cannot have it.
    """
    factor = 2 ** (len(config.vae.channels) - 1)
    trained = config.unet.sample_size
    found = []
    for number, (name, given) in enumerate(
        (("height", sampling.height), ("width", sampling.width))
    ):
        if given is None and trained is None:
            raise ValueError(
                f"{where} does not say for which size it was trained; give fitness.{name}"
            )
        size = trained[number] * factor if given is None else given  # type: ignore[index]
        if size % factor:
            raise ValueError(
                f"{where}: a picture's {name} must be a multiple of {factor}, which one latent "
                f"stands for; got {size}"
            )
        found.append(size)
    return found[0], found[1]


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)
