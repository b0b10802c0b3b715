"""Train the two sources of this experiment, on top of the quickstart's base.

python -m experiments.spaces.make_sources [--out DIR] [--seed N]
"""

import argparse
from pathlib import Path

import jax.numpy as jnp

from evojax_merge.checkpoints.loader import load
from evojax_merge.params.tree import flatten, unflatten
from evojax_merge.params.types import Params
from experiments.quickstart import stages
from experiments.quickstart.checkpoint import llama_config, save_checkpoint
from experiments.quickstart.make_sources import SOURCES as QUICKSTART
from experiments.quickstart.make_sources import train_stages
from experiments.quickstart.stages import calculating, fine_tune
from experiments.quickstart.tokenizer import build_tokenizer
from experiments.quickstart.train import Places

SOURCES = Path(__file__).parent / "sources"


def layers(*numbers: int) -> Places:
    """Whole layers: the attention and the MLP of each."""
    return Places(attention=numbers, mlp=numbers)


FINE_TUNES = {
    "math": fine_tune(
        layers(1, 2),
        skill=[
            (weight / 2, document)
            for kind in ("change", "pair")
            for weight, document in calculating(kind)
        ],
        habit=stages.FINE_TUNES["change"].habit.mixture,
        prompt_weight=0.0,
    ),
    "japanese": fine_tune(
        layers(2, 3),
        skill=stages.FINE_TUNES["japanese"].skill.mixture,
        habit=stages.FINE_TUNES["japanese"].habit.mixture,
        prompt_weight=0.1,
        elsewhere=layers(1),
    ),
}
"""`math` calculates in problems of both kinds; out of habit it answers in English. `japanese` reads
what the quickstart's reads; its first layer stays the base's.
"""

SIZES = {"math": 2.5, "japanese": 1.0}
"""How large the hidden state of each is, as a multiple of the base's."""


def resized(params: Params, factor: float) -> Params:
    """The same function with a hidden state that is larger by a factor.

    Each block reads the hidden state through a norm, which removes its size. So a model stays the
    same, up to the norms' epsilon, if all that writes to the hidden state grows by one factor.
    """
    writers = ("embed_tokens.weight", "o_proj.weight", "down_proj.weight")
    return unflatten(
        {
            path: leaf * jnp.asarray(factor, leaf.dtype) if path.endswith(writers) else leaf
            for path, leaf in flatten(params).items()
        }
    )


def make_sources(directory: Path = SOURCES, seed: int = 0) -> None:
    """Write both sources. Another seed reads other documents."""
    tokenizer = build_tokenizer()
    base = load(QUICKSTART / "base")
    for name, chosen in FINE_TUNES.items():
        params = train_stages(name, base.config, base.params, tokenizer, chosen, seed)
        written = resized(params, SIZES[name])
        save_checkpoint(directory / name, written, llama_config(tokenizer), tokenizer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SOURCES)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    make_sources(arguments.out, arguments.seed)
