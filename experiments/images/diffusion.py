"""Noise, and what a UNet makes of it: training by velocities, and Euler's method."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTokenizer

from experiments.images import networks, parts, world
from experiments.images.train import Stage, fit

BATCH = 64
UNCONDITIONAL = 0.1
"""How many prompts are left out in training, so that guidance can lead away from none."""

_ALPHAS = networks.scheduler().alphas_cumprod
SIGMAS = ((1 - _ALPHAS) / _ALPHAS).sqrt()
"""The deviation of the noise on latents at each time of training."""


class World:
    """An endless stream of latents with prompts, as the shared parts make them."""

    def __init__(
        self,
        vae: AutoencoderKL,
        encoders: tuple[nn.Module, nn.Module],
        tokenizer: CLIPTokenizer,
        seed: int,
    ) -> None:
        self._vae, self._encoders, self._tokenizer = vae, encoders, tokenizer
        self._rng = np.random.default_rng(seed)

    @torch.no_grad()
    def batch(self, japanese: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Draw latents of pictures, and their conditions.

        Args:
            japanese: How many of the prompts are Japanese.
        """
        drawn = world.pictures(self._rng, BATCH, "draw")
        both = [
            parts.prompts(self._rng, language, "train", drawn.colours, drawn.digits)
            for language in ("en", "ja")
        ]
        chosen = self._rng.random(BATCH) < japanese
        texts = [pair[which] for *pair, which in zip(*both, chosen.astype(int), strict=True)]
        pixels = 2 * torch.from_numpy(drawn.pixels) - 1
        latents = self._vae.encode(pixels).latent_dist.mean * self._vae.config.scaling_factor
        return latents, self.conditions(texts)

    def english(self, count: int) -> list[torch.Tensor]:
        """Draw the conditions of English prompts."""
        colours, digits = (self._rng.integers(most, size=count) for most in (6, 10))
        return self.conditions(parts.prompts(self._rng, "en", "train", colours, digits))

    def conditions(self, texts: list[str]) -> list[torch.Tensor]:
        """Compute the conditions of prompts."""
        return parts.conditions(self._encoders, parts.tokens(self._tokenizer, texts))


def tune(
    unet: UNet2DConditionModel, stream: World, japanese: float, stage: Stage
) -> UNet2DConditionModel:
    """Train a UNet to predict velocities, at times that are spread evenly.

    Args:
        unet: The UNet, which is changed.
        stream: The pictures.
        japanese: How many of the prompts are Japanese.
        stage: For how long, and how fast.
    """

    def loss() -> torch.Tensor:
        latents, condition = stream.batch(japanese)
        kept = (torch.rand(BATCH) > UNCONDITIONAL).float()
        condition = [own * kept.reshape(-1, *[1] * (own.ndim - 1)) for own in condition]
        times = ((torch.randperm(BATCH) + torch.rand(BATCH)) / BATCH * len(SIGMAS)).long()
        sigma = SIGMAS[times].reshape(-1, 1, 1, 1)
        noise = torch.randn_like(latents)
        found = velocity(unet, latents + sigma * noise, times, condition)
        wanted = (noise - sigma * latents) / (1 + sigma**2).sqrt()
        return ((found - wanted) ** 2).mean()

    return fit(unet, loss, stage)


def velocity(
    unet: UNet2DConditionModel,
    noisy: torch.Tensor,
    times: torch.Tensor,
    condition: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Return what a UNet predicts of latents plus σ · noise."""
    sigma = SIGMAS[times].reshape(-1, 1, 1, 1)
    added = {
        "text_embeds": condition[1],
        "time_ids": torch.tensor(networks.TIME_IDS).expand(len(noisy), -1),
    }
    scaled = noisy / (1 + sigma**2).sqrt()
    return unet(scaled, times, condition[0], added_cond_kwargs=added).sample


def clean(
    unet: UNet2DConditionModel,
    noisy: torch.Tensor,
    times: torch.Tensor,
    condition: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Return the clean latents that follow from the velocity that a UNet predicts."""
    sigma = SIGMAS[times].reshape(-1, 1, 1, 1)
    found = velocity(unet, noisy, times, condition)
    return noisy / (1 + sigma**2) - sigma / (1 + sigma**2).sqrt() * found


def guided(
    unet: UNet2DConditionModel,
    noisy: torch.Tensor,
    times: torch.Tensor,
    condition: Sequence[torch.Tensor],
    guidance: float,
) -> torch.Tensor:
    """Return what `clean` does, led away from what it returns for no prompt."""
    wanted = clean(unet, noisy, times, condition)
    if guidance <= 1:
        return wanted
    without = clean(unet, noisy, times, [torch.zeros_like(part) for part in condition])
    return without + guidance * (wanted - without)


def trailing(steps: int) -> torch.Tensor:
    """Return the times of some steps, as ``trailing`` spacing has them."""
    return torch.arange(1000, 0, -1000 / steps).round().long() - 1
