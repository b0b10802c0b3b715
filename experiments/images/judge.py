"""The judge: the vision tower of a CLIP, and a head that tells digits and colours."""

import itertools
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import CLIPVisionModel

from experiments.images import networks, world
from experiments.images.train import Stage, fit
from experiments.images.words import COLOURS, DIGITS

BATCH = 64
LOOK = Stage("judge", 2600, 1.5e-3)
CLASSES = len(COLOURS), len(DIGITS)
TURN, GROWTH, NOISE = 0.1, 0.06, 0.08
"""The most by which training pictures are turned (radians), grown and made noisy."""


def train(seed: int) -> tuple[CLIPVisionModel, nn.Linear]:
    """Train the tower, and a head with a row for each colour and then for each digit."""
    torch.manual_seed(seed)
    rng, tower = np.random.default_rng(seed), networks.judge()
    head = nn.Linear(tower.config.hidden_size, sum(CLASSES))

    def loss() -> torch.Tensor:
        drawn = world.pictures(rng, BATCH, "judge")
        return _loss(both, varied(torch.from_numpy(drawn.pixels)), drawn)

    both = nn.ModuleList([tower, head])
    trained = fit(both, loss, LOOK)
    unseen = world.pictures(rng, 2000, "draw")
    with torch.no_grad():
        logits = _logits(trained, torch.from_numpy(unseen.pixels))
    answers = [part.argmax(1).numpy() for part in logits]
    right = [found == wanted for found, wanted in zip(answers, unseen[1:], strict=True)]
    shares = [part.mean() for part in (*right, right[0] & right[1])]
    print("judge: {:.1%} of colours, {:.1%} of digits, {:.1%} of both right on the drawers' "
          "pictures".format(*shares), flush=True)  # fmt: skip
    return trained[0], trained[1]


def varied(pictures: torch.Tensor) -> torch.Tensor:
    """Turn, scale and dim pictures at random, and add noise."""
    count = len(pictures)
    angle = TURN * (2 * torch.rand(count) - 1)
    size = 1 + GROWTH * (2 * torch.rand(count) - 1)
    cosine, sine = size * angle.cos(), size * angle.sin()
    zeros = torch.zeros(count)
    rows = torch.stack([cosine, -sine, zeros, sine, cosine, zeros], 1).reshape(-1, 2, 3)
    grid = functional.affine_grid(rows, list(pictures.shape), align_corners=False)
    turned = functional.grid_sample(pictures, grid, align_corners=False)
    dimmed = turned * (0.75 + 0.3 * torch.rand(count, 1, 1, 1))
    noisy = dimmed + NOISE * torch.rand(count, 1, 1, 1) * torch.randn_like(dimmed)
    return noisy.clamp(0, 1)


def save(tower: CLIPVisionModel, head: nn.Linear, directory: Path) -> None:
    """Write the tower, its image processor, and a head with a row for each colour and digit.

    The logit of a class such as ``red 3`` is that of the colour plus that of the digit, so that the
    likeliest class is the likeliest colour with the likeliest digit.
    """
    tower.save_pretrained(directory)
    size = {"height": world.SIDE, "width": world.SIDE}
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": size,
        "resample": 3,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    pairs = list(itertools.product(range(CLASSES[0]), range(CLASSES[0], sum(CLASSES))))
    rows = {
        name: torch.stack([part[colour] + part[digit] for colour, digit in pairs])
        for name, part in (("weight", head.weight.detach()), ("bias", head.bias.detach()))
    }
    save_file(rows, directory / "head.safetensors")


def _logits(both: nn.ModuleList, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
    tower, head = both
    return head(tower(2 * pictures - 1).pooler_output).split(CLASSES, dim=1)


def _loss(both: nn.ModuleList, pictures: torch.Tensor, drawn: world.Pictures) -> torch.Tensor:
    colour, digit = _logits(both, pictures)
    return functional.cross_entropy(colour, torch.from_numpy(drawn.colours)) + (
        functional.cross_entropy(digit, torch.from_numpy(drawn.digits))
    )
