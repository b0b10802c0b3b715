"""Score sources, merges at given weights, a grid of weights and evolved merges.

    python -m experiments.images.grid [--sources DIR] [--weights 0 0.5 1 1.5] [--recipes FILE ...]

The best weights for the whole UNet are chosen on search items and measured on test items. Recipes
of runs are compared with them there, item by item. Sources are also scored in other settings. torch
draws and judges the pictures, from the noise that a run begins with.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from scipy.stats import binomtest
from transformers import CLIPVisionModel

from evojax_merge.models.diffusion.drawing import noise_of
from evojax_merge.models.unet.params import group_of
from evojax_merge.params.types import Float
from evojax_merge.report.intervals import interval
from experiments.images import data, networks, parts, words
from experiments.images.diffusion import SIGMAS, guided, trailing
from experiments.images.words import Language, Split

SOURCES = Path(__file__).parent / "sources"
WEIGHTS = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)
GROUPS = ("embedding", "attention", "rest")
"""The groups of the experiment, in the order of their weights here."""

BATCH = 120

Weights = Callable[[str], tuple[float, float]]
"""The weights of japanese and fast, by the path of a tensor."""


class Setting(NamedTuple):
    """How pictures are asked for, and in how many steps they are drawn."""

    language: Language
    steps: int
    guidance: float


MANY, FEW = (8, 2.5), (4, 0.0)
ASKED = Setting("ja", *FEW)
"""The setting of the experiment."""

SETTINGS = (Setting("en", *MANY), Setting("en", *FEW), Setting("ja", *MANY))
"""The other settings."""

SINGLE = {
    "base": (0.0, 0.0) * 3,
    "japanese": (1.0, 0.0) * 3,
    "fast": (0.0, 1.0) * 3,
}
MERGED = {
    "average of all three": (1 / 3, 1 / 3) * 3,
    "both task vectors whole": (1.0, 1.0) * 3,
    "attention of japanese, rest of fast": (0.0, 1.0, 1.0, 0.0, 0.0, 1.0),
    "attention of fast, rest of japanese": (1.0, 0.0, 0.0, 1.0, 1.0, 0.0),
}
"""The weights of japanese and fast in embeddings, in attention, and in the rest."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, default=SOURCES)
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    parser.add_argument("--recipes", type=Path, nargs="*", default=())
    given = parser.parse_args()
    torch.set_num_threads(1)
    scorer = Scorer(given.sources)
    for name, weights in (SINGLE | MERGED).items():
        print(f"{name:36}", told(scorer(grouped(weights), ASKED, "test")), flush=True)
    print("on search items, japanese down, fast across", *given.weights)
    found: dict[tuple[float, ...], float] = {}
    for one in given.weights:
        for two in given.weights:
            whole = grouped((one, two) * 3)
            found[one, two] = 100 * scorer(whole, ASKED, "search").mean()
        print(f"{one:5}", *(f"{found[one, two]:5.1f}" for two in given.weights), flush=True)
    best = max(found, key=lambda pair: found[pair])
    simple = scorer(grouped(best * 3), ASKED, "test")
    print("best for the whole UNet", best, told(simple), flush=True)
    for recipe in given.recipes:
        evolved = scorer(grouped(weights_of(recipe)), ASKED, "test")
        print(recipe, told(evolved), compared(evolved, simple), flush=True)
    for setting in SETTINGS:
        for name, weights in SINGLE.items():
            scored = scorer(grouped(weights), setting, "test")
            print(*setting, f"{name:10}", told(scored), flush=True)


class Scorer:
    """What items score, for weights of the task vectors.

    Args:
        directory: The directory of the sources.
    """

    def __init__(self, directory: Path) -> None:
        self._pipeline = StableDiffusionXLPipeline.from_pretrained(
            directory / "base", dtype=torch.float32
        )
        unets = [
            UNet2DConditionModel.from_pretrained(directory / name, torch_dtype=torch.float32)
            for name in ("base/unet", "japanese", "fast")
        ]
        self._states = [unet.state_dict() for unet in unets]
        self._unet = unets[0].eval()
        self._states[0] = {path: leaf.clone() for path, leaf in self._states[0].items()}
        self._tower = CLIPVisionModel.from_pretrained(directory / "judge").eval()
        self._head = load_file(directory / "judge" / "head.safetensors")

    @torch.no_grad()
    def __call__(
        self, weights: Weights, setting: Setting, split: Split
    ) -> Float[np.ndarray, " items"]:
        """Return 1 for each item whose picture is right, and else 0.

        Args:
            weights: Those of japanese and fast, by the path of a tensor.
            setting: How pictures are asked for and drawn.
            split: The items.
        """
        items, right = data.items(split, setting.language), []
        for first in range(0, len(items), BATCH):
            own = items[first : first + BATCH]
            answers = self._answers(self.pictures(weights, setting, own))
            right += [answer == item["label"] for answer, item in zip(answers, own, strict=True)]
        return np.array(right, np.float64)

    @torch.no_grad()
    def pictures(
        self, weights: Weights, setting: Setting, items: Sequence[dict[str, object]]
    ) -> torch.Tensor:
        """Draw a picture of each item, with numbers from 0 to 1 ``[items, 3, height, width]``.

        Args:
            weights: Those of japanese and fast, by the path of a tensor.
            setting: How pictures are drawn.
            items: The prompts and seeds.
        """
        self._unet.load_state_dict(self._merged(weights))
        return self._drawn(items, setting)

    def _merged(self, weights: Weights) -> dict[str, torch.Tensor]:
        base, one, two = self._states
        found = {}
        for path, leaf in base.items():
            first, second = weights(path)
            found[path] = leaf + first * (one[path] - leaf) + second * (two[path] - leaf)
        return found

    def _drawn(self, items: Sequence[dict[str, object]], setting: Setting) -> torch.Tensor:
        encoders = self._pipeline.text_encoder, self._pipeline.text_encoder_2
        texts = [str(item["prompt"]) for item in items]
        condition = parts.conditions(encoders, parts.tokens(self._pipeline.tokenizer, texts))
        seeds = np.array([item["seed"] for item in items], np.uint32)
        times, vae = trailing(setting.steps), self._pipeline.vae
        sigmas = torch.cat([SIGMAS[times], torch.zeros(1)])
        size = (vae.config.latent_channels, networks.LATENT, networks.LATENT)
        x = sigmas[0] * torch.from_numpy(np.array(noise_of(seeds, size)))
        for step, time in enumerate(times):
            target = guided(self._unet, x, time.expand(len(x)), condition, setting.guidance)
            x = x + (sigmas[step + 1] - sigmas[step]) * (x - target) / sigmas[step]
        return (vae.decode(x / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)

    def _answers(self, pictures: torch.Tensor) -> list[str]:
        features = self._tower(2 * pictures - 1).pooler_output
        places = (features @ self._head["weight"].T + self._head["bias"]).argmax(1).tolist()
        return [words.label(*divmod(place, len(words.DIGITS))) for place in places]


def grouped(weights: Sequence[float]) -> Weights:
    """Take the same weights for all tensors of a group.

    Args:
        weights: Those of japanese and fast in embeddings, in attention, and in the rest.
    """

    def of(path: str) -> tuple[float, float]:
        group = group_of(path)
        place = 2 * GROUPS.index(group if group in GROUPS else "rest")
        return weights[place], weights[place + 1]

    return of


def told(items: Float[np.ndarray, " items"]) -> str:
    """Write the mean with its 95 % interval, in percent."""
    low, high = interval(items)
    return f"{100 * items.mean():5.1f} ({100 * low:.1f} - {100 * high:.1f})"


def compared(one: Float[np.ndarray, " items"], other: Float[np.ndarray, " items"]) -> str:
    """Write on how many items each of two merges alone is right, with the exact sign test."""
    won, lost = int((one > other).sum()), int((one < other).sum())
    chance = binomtest(won, won + lost).pvalue if won + lost else 1.0
    return f"wins {won}, loses {lost} (p = {chance:.2g})"


def weights_of(recipe: Path) -> list[float]:
    """Read the weights of a run's recipe, in the order of the groups."""
    segments = yaml.safe_load(recipe.read_text(encoding="utf-8"))["segments"]
    by_name = {segment["name"]: segment["weight"] for segment in segments}
    return [weight for name in GROUPS for weight in by_name[name]]


if __name__ == "__main__":
    main()
