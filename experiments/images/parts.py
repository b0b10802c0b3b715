"""What all sources share: an autoencoder of pictures, and two encoders of prompts."""

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional
from transformers import CLIPTokenizer

from evojax_merge.params.types import Int
from experiments.images import networks, world
from experiments.images.train import Stage, fit
from experiments.images.words import COLOURS, DIGITS, LANGUAGES, TEMPLATES, Language, Split, prompt

BATCH = 64
COMPRESS = Stage("autoencoder", 500, 3e-3)
READ = Stage("text encoders", 250, 2e-3)
DIVERGENCE = 1e-4
"""The weight of the divergence of latents from a normal distribution."""


def train_autoencoder(seed: int) -> AutoencoderKL:
    """Train the autoencoder on pictures of the drawers' digits."""
    torch.manual_seed(seed)
    rng, vae = np.random.default_rng(seed), networks.autoencoder()

    def loss() -> torch.Tensor:
        pictures = 2 * torch.from_numpy(world.pictures(rng, BATCH, "draw").pixels) - 1
        latents = vae.encode(pictures).latent_dist
        decoded = vae.decode(latents.sample()).sample
        divergence = latents.kl().mean() / (vae.config.latent_channels * networks.LATENT**2)
        return functional.mse_loss(decoded, pictures) + DIVERGENCE * divergence

    trained = fit(vae, loss, COMPRESS)
    pictures = 2 * torch.from_numpy(world.pictures(rng, 512, "draw").pixels) - 1
    with torch.no_grad():
        latents = trained.encode(pictures).latent_dist.mean
        error = functional.l1_loss(trained.decode(latents).sample, pictures)
    print(
        f"autoencoder: mean error {127.5 * error:.2f} of 255, mean {latents.mean():.2f}, "
        f"deviation {latents.std():.2f}",
        flush=True,
    )
    trained.register_to_config(scaling_factor=round(1 / float(latents.std()), 4))
    return trained


def train_text_encoders(tokenizer: CLIPTokenizer, seed: int) -> tuple[nn.Module, nn.Module]:
    """Teach both encoders to tell digits and colours, in each language by itself.

    A linear head for each language and each encoder does so, and nothing aligns the languages.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    encoders = networks.text_encoders(len(tokenizer))
    classes = len(DIGITS), len(COLOURS)
    heads = nn.ModuleDict(
        {
            f"{language} {number}": nn.Linear(width, sum(classes))
            for language in LANGUAGES
            for number, width in enumerate((networks.TEXT, networks.PROJECTION))
        }
    )

    def loss() -> torch.Tensor:
        total = torch.zeros(())
        for language in LANGUAGES:
            colours, digits = (rng.integers(count, size=BATCH) for count in (len(COLOURS), 10))
            ids = tokens(tokenizer, prompts(rng, language, "train", colours, digits))
            pooled = encoders[0](ids).pooler_output, encoders[1](ids).text_embeds
            for number, features in enumerate(pooled):
                logits = heads[f"{language} {number}"](features).split(classes, dim=1)
                for own, labels in zip(logits, (digits, colours), strict=True):
                    total = total + functional.cross_entropy(own, torch.from_numpy(labels))
        return total / 8

    trained = fit(nn.ModuleList(encoders), loss, READ, [heads])
    return trained[0], trained[1]


def prompts(
    rng: np.random.Generator,
    language: Language,
    split: Split,
    colours: Int[np.ndarray, " batch"],
    digits: Int[np.ndarray, " batch"],
) -> list[str]:
    """Write a prompt for each picture, by a random template."""
    chosen = rng.integers(len(TEMPLATES[language][split]), size=len(colours))
    return [
        prompt(language, split, *row)
        for row in zip(chosen.tolist(), colours.tolist(), digits.tolist(), strict=True)
    ]


def tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Turn prompts into tokens, padded to the length that the encoders read."""
    return tokenizer(texts, padding="max_length", return_tensors="pt")["input_ids"]


@torch.no_grad()
def conditions(encoders: tuple[nn.Module, nn.Module], ids: torch.Tensor) -> list[torch.Tensor]:
    """Compute what SDXL conditions a UNet on.

    Returns:
        The states of both encoders before their last layers, side by side
        ``[batch, tokens, width]``, and the features of the whole prompt by the second one
        ``[batch, features]``.
    """
    first, second = (encoder(ids, output_hidden_states=True) for encoder in encoders)
    states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
    return [states, second.text_embeds]
