"""Change the weight of one task vector in one part of the UNet, and score the search items.

    python -m experiments.images.probe [--sources DIR] [--centre 1.25 0.85] [--change 0.5]

This is how the groups of the experiment were found. All other weights stay as they are.
"""

import argparse
from pathlib import Path

import torch

from experiments.images.grid import ASKED, SOURCES, Scorer, Weights

PARTS = {
    "embedding": ("time_emb", "add_emb"),
    "attention to the prompt": ("attn2",),
    "attention to the picture": ("attn1",),
    "rest of the transformers": ("transformer_blocks", "proj_"),
    "convolutions down": ("down_blocks",),
    "convolutions in the middle": ("mid_block",),
    "convolutions up": ("up_blocks",),
    "both ends": ("",),
}
"""What the paths of each part hold. A tensor is in the first part that its path fits."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, default=SOURCES)
    parser.add_argument("--centre", type=float, nargs=2, default=(1.25, 0.85))
    parser.add_argument("--change", type=float, default=0.5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    scorer, centre = Scorer(given.sources), tuple(given.centre)

    def scored(weights: Weights) -> str:
        return f"{100 * scorer(weights, ASKED, 'search').mean():5.1f}"

    print("centre", scored(lambda path: centre))
    print(f"less and more of japanese, less and more of fast, by {given.change}")
    for part in PARTS:
        found = []
        for one, two in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            moved = centre[0] + one * given.change, centre[1] + two * given.change
            found.append(scored(changed(part, centre, moved)))
        print(f"{part:28}", *found, flush=True)


def changed(part: str, centre: tuple[float, float], moved: tuple[float, float]) -> Weights:
    """Take other weights in one part."""
    return lambda path: moved if part_of(path) == part else centre


def part_of(path: str) -> str:
    """Return the part of a tensor."""
    return next(name for name, held in PARTS.items() if any(piece in path for piece in held))


if __name__ == "__main__":
    main()
