"""Train the quickstart's base and its three fine-tunes."""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
from transformers import PreTrainedTokenizerFast

from evojax_merge.models.decoder import modeling
from evojax_merge.models.decoder.config import DecoderConfig
from evojax_merge.params.types import Params
from experiments.quickstart import stages
from experiments.quickstart.checkpoint import llama_config, save_checkpoint
from experiments.quickstart.data import write_evaluation_files
from experiments.quickstart.tokenizer import build_tokenizer
from experiments.quickstart.train import Stage, train

SOURCES = Path(__file__).parent / "sources"


def make_sources(directory: Path = SOURCES, seed: int = 0) -> None:
    """Write the base and its fine-tunes. Another seed begins and reads anew everywhere."""
    tokenizer = build_tokenizer()
    written = llama_config(tokenizer)
    config = DecoderConfig.from_hf(written.to_dict())

    def make(name: str, params: Params, stages: Sequence[Stage]) -> Params:
        params = train_stages(name, config, params, tokenizer, stages, seed)
        save_checkpoint(directory / name, params, written, tokenizer)
        return params

    base = make("base", modeling.init_params(config, jax.random.key(seed)), stages.BASE)
    for name, fine_tune in stages.FINE_TUNES.items():
        make(name, base, fine_tune)


def train_stages(
    name: str,
    config: DecoderConfig,
    params: Params,
    tokenizer: PreTrainedTokenizerFast,
    stages: Sequence[Stage],
    seed: int,
) -> Params:
    """Train one stage after the other, and say how it goes. Another seed reads other documents."""
    began = time.monotonic()
    for number, stage in enumerate(stages, start=1):
        label = f"{name}, stage {number} of {len(stages)}"
        stage = stage._replace(seed=stage.seed + 100 * seed)
        params = train(config, params, tokenizer, stage, partial(_report, label, stage))
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return params


def _report(label: str, stage: Stage, step: int, loss: float, _: Params) -> None:
    print(f"{label}: step {step} of {stage.steps}, loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SOURCES)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_evaluation_files()
    make_sources(arguments.out, arguments.seed)
