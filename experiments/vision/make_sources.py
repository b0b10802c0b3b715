"""Train the sources of the vision experiment: a text model, a LLaVA, and a Japanese text model.

python -m experiments.vision.make_sources [--out DIR] [--seed N]

Both fine-tunes start from the base. The tower first learns to see, as CLIP's pretraining would have
taught it.
"""

import argparse
import json
from pathlib import Path

from evojax_merge.models import family_of
from evojax_merge.models.seeing.config import LANGUAGE, PROJECTOR, TOWER
from evojax_merge.params.types import Params
from experiments.vision import batches, checkpoint, data, tokenizer, tower
from experiments.vision.documents import BASE, JAPANESE
from experiments.vision.train import Stage, fit, picture_loss, text_loss

SOURCES = Path(__file__).parent / "sources"

READ = Stage("base", 2600, 3e-3, warmup=50)
SEE = Stage("tower", 1000, 1.5e-3)
ALIGN = Stage("seer, projector alone", 60, 3e-3)
TUNE = Stage("seer", 600, 1.2e-3)
POLISH = Stage("seer, again", 700, 8e-4)
SPEAK = Stage("japanese", 250, 8e-4)

JAPANESE_QUESTIONS = 0.4
"""How many of the questions that the seer learns from are Japanese. All answers are English."""


def make_base(directory: Path, seed: int) -> None:
    """Train on both languages, told scenes, and sums."""
    words = tokenizer.build(pictures=True)
    written = checkpoint.text_config(words)
    family = family_of(written)
    config = family.config_from_hf(written)
    start = checkpoint.initial(family, config, seed)
    params = fit(text_loss(config), start, batches.texts(words, BASE, seed + 1), READ)
    checkpoint.save(directory / "base", family, written, params, words)


def make_japanese(directory: Path, seed: int) -> None:
    """Tune the base on Japanese text, with a tokenizer that lacks ``<image>``."""
    words = tokenizer.build(pictures=False)
    written = checkpoint.text_config(words)
    family = family_of(written)
    config = family.config_from_hf(written)
    start = base(directory)
    for table in ("embed_tokens", "lm_head"):
        start[table]["weight"] = start[table]["weight"][: len(words)]
    params = fit(text_loss(config), start, batches.texts(words, JAPANESE, seed + 2), SPEAK)
    checkpoint.save(directory / "japanese", family, written, params, words)


def make_seer(directory: Path, seed: int) -> None:
    """Put the base behind a tower and a projector, and tune it on questions about pictures."""
    words = tokenizer.build(pictures=True)
    written = checkpoint.llava_config(words)
    family = family_of(written)
    config = family.config_from_hf(written)
    params = checkpoint.initial(family, config, seed)
    params[TOWER] = tower.taught(config, checkpoint.pixels(), params[TOWER], SEE, seed + 10)
    params[LANGUAGE] = base(directory)

    def tune(stage: Stage, parts: tuple[str, ...], japanese: float, seed: int) -> None:
        trained = {name: params[name] for name in parts}
        fixed = {name: part for name, part in params.items() if name not in parts}
        drawn = batches.pictures(words, config.pictures, seed, japanese)
        params.update(fit(picture_loss(config, checkpoint.pixels()), trained, drawn, stage, fixed))

    tune(ALIGN, (PROJECTOR,), 0.0, seed + 4)
    for stage, number in ((TUNE, seed + 5), (POLISH, seed + 6)):
        tune(stage, (PROJECTOR, LANGUAGE), JAPANESE_QUESTIONS, number)
    words.chat_template = tokenizer.CHAT_TEMPLATE
    checkpoint.save(directory / "seer", family, written, params, words)
    checkpoint.save_processor(directory / "seer")


def base(directory: Path) -> Params:
    """Read the parameters of the base."""
    written = json.loads((directory / "base" / "config.json").read_text())
    family = family_of(written)
    return checkpoint.load(directory / "base", family, family.config_from_hf(written))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SOURCES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data.write()
    for make in (make_base, make_japanese, make_seer):
        make(given.out, given.seed)
