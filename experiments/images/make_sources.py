"""Train the sources of the images experiment: a pipeline, two more UNets, and a judge of pictures.

python -m experiments.images.make_sources [--out DIR] [--seed N] [--only STAGE ...]

It needs torch and diffusers, which the package does not. Both other UNets are tuned from the base.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from transformers.utils.logging import disable_progress_bar

from experiments.images import data, judge, networks, parts, tokenizer
from experiments.images.diffusion import World, tune
from experiments.images.distil import distil, paths
from experiments.images.train import Stage

SOURCES = Path(__file__).parent / "sources"

DRAW = Stage("base", 900, 1e-3, average=0.99)
READ = Stage("japanese", 700, 5e-4)
JUMP = Stage("fast", 800, 5e-4)

LITTLE, MUCH = 0.02, 0.9
"""How many prompts are Japanese where the base learns, and where the Japanese source does."""

PATHS = 2048
"""How many pictures the base draws for the fast source to learn from."""


def make_base(directory: Path, seed: int) -> None:
    """Train what all sources share, and a UNet that draws, as a pipeline of diffusers."""
    made = tokenizer.build()
    vae = parts.train_autoencoder(seed)
    encoders = parts.train_text_encoders(made, seed + 1)
    torch.manual_seed(seed + 2)
    unet = tune(networks.unet(), World(vae, encoders, made, seed + 2), LITTLE, DRAW)
    pipeline = StableDiffusionXLPipeline(
        vae, *(one.half() for one in encoders), made, made, unet.half(), networks.scheduler(),
        add_watermarker=False,
    )  # fmt: skip
    pipeline.save_pretrained(directory / "base")


def make_japanese(directory: Path, seed: int) -> None:
    """Tune the base on Japanese prompts."""
    torch.manual_seed(seed + 3)
    unet, stream = base(directory, seed + 3)
    tune(unet, stream, MUCH, READ).half().save_pretrained(directory / "japanese")


def make_fast(directory: Path, seed: int) -> None:
    """Distil the base to four steps, on English prompts."""
    torch.manual_seed(seed + 4)
    unet, stream = base(directory, seed + 4)
    walked, condition = paths(unet.eval(), stream, PATHS)
    distil(unet.train(), walked, condition, JUMP).half().save_pretrained(directory / "fast")


def make_judge(directory: Path, seed: int) -> None:
    """Train the judge, which has seen no digit that a source has seen."""
    judge.save(*judge.train(seed + 5), directory / "judge")


def base(directory: Path, seed: int) -> tuple[UNet2DConditionModel, World]:
    """Read the UNet of the base, and a stream of pictures for its encoders."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(directory / "base", dtype=torch.float32)
    encoders = pipeline.text_encoder, pipeline.text_encoder_2
    unet = networks.unet()
    unet.load_state_dict(pipeline.unet.state_dict())
    return unet, World(pipeline.vae, encoders, pipeline.tokenizer, seed)


STAGES: dict[str, Callable[[Path, int], None]] = {
    "base": make_base,
    "japanese": make_japanese,
    "fast": make_fast,
    "judge": make_judge,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SOURCES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=[*STAGES])
    given = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bar()
    data.write()
    for name in given.only:
        STAGES[name](given.out, given.seed)
