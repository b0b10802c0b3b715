"""What distinguishes one diffusion pipeline from another: the configurations of its parts."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Self

from evojax_merge.documents.errors import shown
from evojax_merge.models.clip.config import CLIPConfig
from evojax_merge.models.unet.config import UNetConfig
from evojax_merge.models.vae.config import VAEConfig

UNET, TEXT, TEXT_2, VAE = "unet", "text_encoder", "text_encoder_2", "vae"
PARTS = (UNET, TEXT, TEXT_2, VAE)
"""The parts of a pipeline that hold weights, each named as its folder. Not all have a second text
encoder."""

SCHEDULER = "scheduler"
"""The part without weights that says how noise is removed."""

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
"""The classes of diffusers that run them, without and with a second text encoder."""

PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""What a UNet may have been trained to say."""

PartConfig = UNetConfig | VAEConfig | CLIPConfig


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
    """A pipeline, of which a parameter tree has all parts or some.

    Attributes:
        unet: The UNet, which removes noise from latents.
        vae: The autoencoder, which makes pictures of latents.
        text_encoder: The first text encoder.
        text_encoder_2: The second text encoder, which SDXL has.
        prediction: What the UNet says, one of `PREDICTIONS`.
        present: The parts that a parameter tree has. Another tree has the rest.
    """

    unet: UNetConfig
    vae: VAEConfig
    text_encoder: CLIPConfig
    text_encoder_2: CLIPConfig | None = None
    prediction: str = "epsilon"
    present: tuple[str, ...] = PARTS

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """Read the configurations of the parts, each under the name of its folder.

        Raises:
            ValueError: A part is of a kind that no family computes, or the parts do not fit.
        """
        return cls.from_files(config, ())

    @classmethod
    def from_files(cls, config: Mapping[str, Any], stored: Collection[str]) -> Self:
        """Read the configurations of the parts, whose files say how their tensors are called.

        Args:
            config: The configurations of the parts, each under the name of its folder.
            stored: The names of the stored tensors, ``folder/name``.

        Raises:
            ValueError: A part is of a kind that no family computes, or the parts do not fit.
        """
        found: dict[str, Any] = {}
        for name in PARTS:
            if name in config:
                prefix = f"{name}/"
                own = [one.removeprefix(prefix) for one in stored if one.startswith(prefix)]
                try:
                    found[name] = _read(name, config[name], own)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
        for name in (UNET, TEXT, VAE):
            if name not in found:
                raise ValueError(f"the pipeline has no {name}")
        whole = cls(
            **found,
            prediction=_prediction(config.get(SCHEDULER) or {}),
            present=tuple(name for name in PARTS if name in found),
        )
        whole.check()
        return whole

    def check(self) -> None:
        """Check that the text encoders give what the UNet attends to.

        Raises:
            ValueError: They do not.
        """
        widths = [one.text.hidden_size for one in self.encoders.values() if one.text is not None]
        if sum(widths) != self.unet.context_width:
            raise ValueError(
                f"the text encoders are {' + '.join(map(str, widths))} wide, and the UNet attends "
                f"to {self.unet.context_width} (cross_attention_dim); give text encoders that fit"
            )

    @property
    def encoders(self) -> dict[str, CLIPConfig]:
        """The text encoders by name, in their order, whether or not they are present."""
        found = {TEXT: self.text_encoder}
        return found if self.text_encoder_2 is None else found | {TEXT_2: self.text_encoder_2}

    @property
    def parts(self) -> dict[str, PartConfig]:
        """The configurations of the parts that are present, by name."""
        return {name: getattr(self, name) for name in self.present}

    def only(self, parts: Iterable[str]) -> Self:
        """Return the pipeline for a parameter tree that has some of its parts alone."""
        kept = set(parts)
        return dataclasses.replace(
            self, present=tuple(name for name in self.present if name in kept)
        )

    def holding(self, merged: "DiffusionConfig | PartConfig") -> Self:
        """Return this pipeline with the configuration that merged parts have.

        A merge has no other configuration than its carrier, in all but the rows of token tables,
        which are aligned before.
        """
        if isinstance(merged, DiffusionConfig):
            changes: dict[str, Any] = dict(merged.parts)
            return dataclasses.replace(self, **changes)
        return self

    def with_vocabulary(self, rows: int) -> Self:
        """Return the same pipeline with another number of tokens in its first text encoder."""
        name = next(name for name in (TEXT, TEXT_2) if name in self.present)
        return dataclasses.replace(self, **{name: getattr(self, name).with_vocabulary(rows)})


def _read(name: str, config: Any, stored: Collection[str]) -> PartConfig:
    if not isinstance(config, Mapping):
        raise ValueError(f"config.json: is {shown(config)}, and no mapping")
    if name == UNET:
        return UNetConfig.from_hf(config)
    if name == VAE:
        return VAEConfig.from_files(config, stored)
    encoder = CLIPConfig.from_files(config, stored)
    if encoder.text is None:
        raise ValueError("config.json: is no text encoder")
    return encoder


def _prediction(scheduler: Mapping[str, Any]) -> str:
    found = scheduler.get("prediction_type", "epsilon")
    if found not in PREDICTIONS:
        raise ValueError(
            f"{SCHEDULER}: prediction_type {shown(found)} is not supported; supported are "
            f"{', '.join(PREDICTIONS)}"
        )
    return found
