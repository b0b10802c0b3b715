"""The items of search, validation and test: prompts, noise, and the class that a picture shows.

python -m experiments.images.data
"""

import json
from pathlib import Path

import numpy as np

from experiments.images.words import COLOURS, DIGITS, TEMPLATES, Language, Split, label, prompt

DATA = Path(__file__).parent / "data"
SEEDS: dict[Split, int] = {"search": 10_000, "validation": 20_000, "test": 30_000}
"""The number that fixes the noise of the first item of each split."""

TIMES: dict[Split, int] = {"search": 8, "validation": 4, "test": 8}
"""How often each split asks for each digit in each colour."""


def items(split: Split, language: Language = "ja") -> list[dict[str, object]]:
    """Make the items of a split, the same on every call."""
    asked = [(colour, digit) for colour in range(len(COLOURS)) for digit in range(len(DIGITS))]
    order = np.random.default_rng(SEEDS[split]).permutation(TIMES[split] * len(asked))
    templates = len(TEMPLATES[language][split])
    found: list[dict[str, object]] = []
    for number, place in enumerate(order.tolist()):
        turn, which = divmod(place, len(asked))
        colour, digit = asked[which]
        text = prompt(language, split, turn % templates, colour, digit)
        seed = SEEDS[split] + number
        found.append({"prompt": text, "label": label(colour, digit), "seed": seed})
    return found


def write(directory: Path = DATA, language: Language = "ja") -> None:
    """Write a JSON Lines file for each split."""
    directory.mkdir(parents=True, exist_ok=True)
    for split in SEEDS:
        lines = [json.dumps(item, ensure_ascii=False) for item in items(split, language)]
        (directory / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
