"""Seeing, and answering about pictures: ours against transformers' torch, same model and pictures.

    python experiments/benchmarks/seeing.py --out seeing.json

Measured in float32 on all cores: tower and projector on a batch of pictures; and greedy generation
of exactly ``NEW`` tokens for ``BATCH`` prompts with a picture each. Results are compared before
anything is timed. Generation is measured with the pictures seen in the call, as transformers does
it, and with features that were computed before, as a search does it where the tower is frozen.

Rows of processor time tell more than wall time on a machine that does other things; with
``--cores 1`` they are what an idle core would take.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from measure import Row, cores, costs_in_turn, main, row
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)
from transformers.utils.logging import disable_progress_bar

from evojax_merge import load
from evojax_merge.models.ability import Common
from evojax_merge.models.llava.modeling import features
from evojax_merge.models.request import Generate, Pixels, Sight

BATCH, TEXT, NEW = 16, 24, 32
IMAGE_TOKEN = 255
MEAN, DEVIATION = 0.45, 0.27


class Shape(NamedTuple):
    """The sizes of a LLaVA, how many pictures its tower sees at a time, and how often it does."""

    name: str
    tower: dict[str, int]
    text: dict[str, int]
    pictures: int
    repeats: int


TOWERS = (
    Shape(
        "CLIP ViT-B, 577 positions",
        {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "heads": 12},
        {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 1},
        2,
        5,
    ),
    Shape(
        "the experiment's, 17 positions",
        {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "heads": 4}
        | {"image_size": 32, "patch_size": 8},
        {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 1},
        256,
        9,
    ),
)
MODELS = (
    Shape(
        "1 M parameters, 16 features",
        {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "heads": 4}
        | {"image_size": 32, "patch_size": 8},
        {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 5},
        BATCH,
        7,
    ),
    Shape(
        "10 M parameters, 576 features",
        {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 6, "heads": 3},
        {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6},
        BATCH,
        3,
    ),
)


class Both:
    """A random model, as transformers and as we read it, and pictures for both."""

    def __init__(self, shape: Shape, folder: Path) -> None:
        torch.manual_seed(0)
        self.theirs = LlavaForConditionalGeneration(_config(shape)).eval()
        self.theirs.save_pretrained(folder)
        self.model = load(folder)
        side = self.model.config.vision.image_size
        rng = np.random.default_rng(0)
        self.tiles = rng.integers(0, 256, (shape.pictures, 3, side, side), np.uint8)
        factor = np.full(3, 1 / 255 / DEVIATION, np.float32)
        self.pixels = Pixels(factor, np.full(3, -MEAN / DEVIATION, np.float32))
        scale, shift = (one[:, None, None] for one in self.pixels)
        self.pixel_values = torch.tensor(self.tiles * scale + shift)


def _config(shape: Shape) -> LlavaConfig:
    tower = {"image_size": 336, "patch_size": 14, **shape.tower}
    heads = tower.pop("heads")
    return LlavaConfig(
        vision_config=CLIPVisionConfig(num_attention_heads=heads, **tower),
        text_config=LlamaConfig(
            vocab_size=256, num_attention_heads=8, num_key_value_heads=4, **shape.text
        ),
        image_token_index=IMAGE_TOKEN,
        image_seq_length=(tower["image_size"] // tower["patch_size"]) ** 2,
    )


def _seeing(shape: Shape, folder: Path) -> list[Row]:
    """Tower and projector on a batch of pictures."""
    both = Both(shape, folder)
    config, params, pixels = both.model.config, both.model.params, both.pixels
    run = jax.jit(lambda params, tiles: features(config, params, tiles, pixels))

    def ours() -> np.ndarray:
        return np.asarray(run(params, both.tiles))

    def theirs() -> np.ndarray:
        with torch.no_grad():
            found = both.theirs.model.get_image_features(both.pixel_values).pooler_output
        return np.stack([one.numpy() for one in found])

    return _compared(
        f"see, {shape.name}", ours, theirs, shape.pictures, "pictures/s", shape.repeats
    )


def _answering(shape: Shape, folder: Path) -> list[Row]:
    """Prompts with a picture each, answered in one batch."""
    both = Both(shape, folder)
    config, family = both.model.config, both.model.family
    count = config.pictures.tile_tokens
    rng = np.random.default_rng(0)
    text = rng.integers(3, IMAGE_TOKEN, (BATCH, 1 + TEXT)).astype(np.int32)
    picture = np.full((BATCH, count), IMAGE_TOKEN, np.int32)
    tokens = np.concatenate([text[:, :1], picture, text[:, 1:]], axis=1)
    start = np.zeros(BATCH, np.int32)
    inputs = {
        "input_ids": torch.tensor(tokens, dtype=torch.long),
        "pixel_values": both.pixel_values,
        "attention_mask": torch.ones(tokens.shape, dtype=torch.long),
        "max_new_tokens": NEW,
        "min_new_tokens": NEW,
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    request = Generate(NEW, eos_ids=(), pad_id=0, image_token_id=IMAGE_TOKEN)
    order = np.tile(np.arange(count, dtype=np.int32), (BATCH, 1))
    sight = Common(Sight(both.pixels, {}))

    layout = family.layout(config)
    axes = layout.unrolled_axes()
    params = jax.tree.map(jnp.expand_dims, layout.unroll(both.model.params), axes)
    whole = jax.jit(family.ability(request).program(config, request, axes))
    see = jax.jit(lambda params, tiles: features(config, params, tiles, both.pixels))
    seen = see(both.model.params, both.tiles)
    part = family.parts(config)["language_model"]
    read = jax.jit(part.family.ability(request).program(part.config, request, axes[part.prefix]))

    def ours() -> np.ndarray:
        return np.asarray(whole(params, tokens, start, both.tiles[:, None], order, sight))[0]

    def frozen() -> np.ndarray:
        return np.asarray(read(params[part.prefix], tokens, start, seen))[0]

    def theirs() -> np.ndarray:
        with torch.no_grad():
            return both.theirs.generate(**inputs)[:, tokens.shape[1] :].numpy()

    name = f"answer, batch {BATCH}, {shape.name}"
    return [
        *_compared(name, ours, theirs, BATCH * NEW, "tokens/s", shape.repeats),
        *_compared(f"{name}, frozen tower", frozen, theirs, BATCH * NEW, "tokens/s", shape.repeats),
    ]


def _compared(
    name: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    count: int,
    unit: str,
    repeats: int,
) -> list[Row]:
    """How fast both are, in turns, and how far their results are apart."""
    found, known = ours(), theirs()
    apart = float(np.abs(found - known).max() / np.abs(known).max())
    (mine, my_work), (peer, peer_work) = costs_in_turn((ours, theirs), repeats)
    torch_ = "transformers, torch"
    return [
        row(name, count / mine, unit, torch_, count / peer, peer / mine),
        row(f"{name}, processor", my_work, "s", torch_, peer_work, peer_work / my_work),
        row(f"{name}, largest difference", apart, "relative"),
    ]


def benchmark() -> list[Row]:
    disable_progress_bar()
    torch.set_num_threads(cores())
    rows = []
    for measured, shapes in ((_seeing, TOWERS), (_answering, MODELS)):
        for shape in shapes:
            with tempfile.TemporaryDirectory() as folder:
                rows += measured(shape, Path(folder))
    return rows


if __name__ == "__main__":
    main(benchmark)
