"""The items of search, validation and test: files of pictures, and questions about them.

python -m experiments.vision.data
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from experiments.vision import world
from experiments.vision.words import Kind, Language, Split

DATA = Path(__file__).parent / "data"
SEEDS: dict[Split, int] = {"search": 1101, "validation": 1202, "test": 1505}
SIZES: dict[Split, int] = {"search": 256, "validation": 128, "test": 480}
ASKED: tuple[tuple[int, Kind], ...] = (
    (2, "number"),
    (2, "colour"),
    (2, "sum"),
    (2, "larger"),
    (1, "number"),
    (2, "sum"),
    (2, "number"),
    (1, "colour"),
)
"""The number of digits and the question of each item, in turn."""


class Item(NamedTuple):
    """A picture, and a question about it in one language."""

    picture: np.ndarray
    question: str
    answer: str
    kind: Kind


def items(split: Split, language: Language = "ja") -> Iterator[Item]:
    """Make the items of a split, the same on every call, and in both languages the same scenes."""
    rng = np.random.default_rng(SEEDS[split])
    for number in range(SIZES[split]):
        digits, kind = ASKED[number % len(ASKED)]
        scene = world.scene(rng)
        while len(scene) != digits:
            scene = world.scene(rng)
        asked = world.ask(rng, scene, split, kind)
        picture = world.draw(rng, scene, split)
        yield Item(picture, world.question(asked, language), world.answer(asked, language), kind)


def write(directory: Path = DATA) -> None:
    """Write a JSON Lines file and a folder of pictures for each split."""
    for split in SEEDS:
        (directory / split).mkdir(parents=True, exist_ok=True)
        lines = []
        for number, item in enumerate(items(split)):
            name = f"{split}/{number:03}.png"
            Image.fromarray(item.picture).save(directory / name, optimize=True)
            record = {
                "image": name,
                "question": item.question,
                "answer": item.answer,
                "kind": item.kind,
                "language": "ja",
            }
            lines.append(json.dumps(record, ensure_ascii=False))
        (directory / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
