"""The pipeline around a UNet: what all candidates have in common when they draw."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from evojax_merge.checkpoints import Checkpoint, resolve
from evojax_merge.checkpoints.pipelines import INDEX_KEY
from evojax_merge.fitness.drawing.sampling import Sampling
from evojax_merge.fitness.drawing.text_encoders import TextEncoders, parts_of, tokenizers_of
from evojax_merge.fitness.kept import Kept
from evojax_merge.models.diffusion.conditioning import pooled_from
from evojax_merge.models.diffusion.conditions import (
    Conditioning,
    Conditions,
    PromptTokens,
    time_ids,
)
from evojax_merge.models.diffusion.config import SCHEDULER, UNET, VAE, DiffusionConfig
from evojax_merge.models.diffusion.schedule import Sampler
from evojax_merge.models.request import Draw
from evojax_merge.params.types import Float, Params

CLASS = "_class_name"
"""The key of the class of diffusers that runs a pipeline."""

DECODING = ("decoder", "post_quant_conv")
"""The parts of an autoencoder that latents pass on their way to a picture."""


class Pipeline:
    """A pipeline of which some parts are merged, and how it draws.

    Files are checked when it is made. Weights are read when they are first asked for.

    Args:
        whole: The checkpoint of the pipeline.
        merged: The parts that candidates have of their own.
        sampling: How pictures are drawn.
        task: The name of the task in messages.
        kept_in: Where conditions are kept, see `evojax_merge.fitness.kept.Kept`.
        tokenizers: The directory or hub id of a folder of diffusers whose tokenizers read the
            prompts; by default, the pipeline itself.

    Attributes:
        size: The height and width of pictures.
        guided: Whether there is guidance, so that a negative prompt counts.

    Raises:
        CheckpointError: A tokenizer is damaged.
        ValueError: The pipeline cannot draw so, or has no tokenizers.
    """

    def __init__(
        self,
        whole: Checkpoint,
        merged: Sequence[str],
        sampling: Sampling,
        task: str,
        kept_in: str | None,
        tokenizers: str | None = None,
    ) -> None:
        self._account = (whole, tuple(merged), sampling, tokenizers)
        self._whole, self._merged, self._sampling = whole, set(merged), sampling
        self._config: DiffusionConfig = whole.config
        self.guided = sampling.guidance > 1
        self.size = size_of(self._config, sampling, f"{task}: {whole.directory}")
        try:
            self._sampler = sampler_of(whole, sampling)
            self._conditioning = conditioning_of(whole, sampling)
        except ValueError as error:
            raise ValueError(f"{task}: {whole.directory}: {error}") from error
        given = None if tokenizers is None else resolve(tokenizers)
        self._negatives: dict[str, Conditions | PromptTokens] = {}
        self._encoders = TextEncoders(
            whole,
            self._conditioning,
            tokenizers_of(whole, given, task),
            Kept(kept_in, "conditions of prompts"),
        )

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
            CheckpointError: A tokenizer is damaged.
            ValueError: The model does not draw, or there is no pipeline around it; or the pipeline
                cannot draw so, or has no tokenizers.
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
        return cls(whole, merged, sampling, task, kept_in, tokenizers)

    def alike(self, other: "Pipeline") -> bool:
        """Whether another draws the same pictures."""
        return self._account == other._account

    @property
    def sampling(self) -> Sampling:
        """The settings, with the size of the pictures in them."""
        height, width = self.size
        return dataclasses.replace(self._sampling, height=height, width=width)

    @property
    def reads(self) -> bool:
        """Whether candidates have text encoders of their own, and read the prompts themselves."""
        return bool(self._merged & self._config.encoders.keys())

    def request(self, judge: Callable[..., Any] | None, judge_bytes: int) -> Draw:
        """The request for pictures, or for what a judge says of them."""
        return Draw(
            sampler=self._sampler,
            guidance=float(self._sampling.guidance),
            height=self.size[0],
            width=self.size[1],
            vae=self._config.vae,
            conditioning=self._conditioning if self.reads else None,
            judge=judge,
            judge_bytes=judge_bytes if judge is not None else 0,
            rows=self._sampling.rows,
        )

    @functools.cached_property
    def params(self) -> Params:
        """The parameters of the parts that candidates lack, without the encoder of pictures."""
        found: Params = {}
        if VAE not in self._merged:
            exact = np.float32 if self._config.vae.force_upcast else None
            whole = parts_of(self._whole, (VAE,), exact)[VAE]
            found[VAE] = {name: own for name, own in whole.items() if name in DECODING}
        others = (*self._config.encoders, UNET) if self.reads else (UNET,)
        lacking = tuple(name for name in others if name not in self._merged)
        return found | parts_of(self._whole, lacking)

    def conditions(self, prompts: Sequence[str]) -> Conditions | PromptTokens:
        """What prompts condition a UNet on; their tokens, where candidates read them.

        Conditions are kept on disk, and found there by later runs.
        """
        sizes = self._sizes(len(prompts))
        if self.reads:
            return PromptTokens(self._encoders.tokens(prompts), sizes)
        return self._encoders.conditions(prompts)._replace(time_ids=sizes)

    def negative(self, prompt: str) -> Conditions | PromptTokens | None:
        """What guidance leads away from; None for zeros."""
        if not prompt and self._conditioning.zeros:
            return None
        if prompt not in self._negatives:
            encoders = self._encoders
            self._negatives[prompt] = (
                PromptTokens(encoders.tokens([prompt])) if self.reads else encoders.negative(prompt)
            )
        return self._negatives[prompt]

    def _sizes(self, rows: int) -> Float[np.ndarray, "rows ids"] | None:
        if self._conditioning.pooled is None:
            return None
        return np.repeat(time_ids(*self.size)[None], rows, axis=0)


def sampler_of(whole: Checkpoint, sampling: Sampling) -> Sampler:
    """How noise becomes latents, by a pipeline's scheduler and what was chosen.

    Raises:
        ValueError: The scheduler cannot do so.
    """
    return Sampler.from_hf(
        whole.hf_config.get(SCHEDULER) or {},
        sampling.steps,
        kind=sampling.sampler,
        timestep_spacing=sampling.spacing,
        prediction_type=sampling.prediction,
    )


def conditioning_of(whole: Checkpoint, sampling: Sampling) -> Conditioning:
    """How the states of a pipeline's text encoders become conditions.

    Raises:
        ValueError: The pipeline cannot have them so.
    """
    found = Conditioning.from_hf(
        {**whole.hf_config.get(INDEX_KEY, {}), CLASS: whole.hf_config[CLASS]},
        pooled=sampling.pooled,
        clip_skip=sampling.clip_skip,
    )
    if found.pooled is not None:
        pooled_from(found.pooled, whole.config.encoders)
    return found


def size_of(config: DiffusionConfig, sampling: Sampling, where: str) -> tuple[int, int]:
    """The height and width of pictures.

    Raises:
        ValueError: There is none, or latents cannot have it.
    """
    factor, trained = config.vae.factor, config.unet.sample_size
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
