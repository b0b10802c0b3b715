"""Draw test items by the sources, by plain merges and by the winner of a run.

    python -m experiments.images.gallery RECIPE [--whole 1.25 1.0] [--count 12] [--out FILE]

The columns are headed by the classes that the Japanese prompts ask for. Noise is the same in a
column. torch draws the pictures, in four steps.
"""

import argparse
from pathlib import Path

import torch

from evojax_merge.fitness.drawing.showing import Drawn
from evojax_merge.report.pictures import plot_gallery
from experiments.images import data
from experiments.images.grid import ASKED, SINGLE, SOURCES, Scorer, grouped, weights_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--whole", type=float, nargs=2, default=(1.25, 1.0))
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "gallery.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    scorer, items = Scorer(SOURCES), data.items("test")[: given.count]
    methods = {
        **SINGLE,
        "plain average": (0.5, 0.5) * 3,
        "best for the whole": tuple(given.whole) * 3,
        "evolved": weights_of(given.recipe),
    }
    rows = {}
    for name, weights in methods.items():
        pictures = scorer.pictures(grouped(weights), ASKED, items)
        pixels = (255 * pictures).round().byte().permute(0, 2, 3, 1).numpy()
        rows[name] = [
            Drawn(own, {"prompt": item["label"]}) for own, item in zip(pixels, items, strict=True)
        ]
    plot_gallery(rows, given.out)


if __name__ == "__main__":
    main()
