"""Batches of documents, with pictures and without."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerFast

from evojax_merge.models.llava.config import PictureConfig
from evojax_merge.params.types import Float, Int, UInt8
from experiments.vision import world
from experiments.vision.documents import Document, Mixture, sample
from experiments.vision.tokenizer import IMAGE
from experiments.vision.world import draw

LENGTHS = (24, 40)
"""The numbers of tokens that texts are padded to."""

TOKENS_PER_BATCH = 1920
PICTURES_PER_BATCH = 48
PROMPT_WEIGHT = 0.1


class Batch(NamedTuple):
    """Sequences padded on the right, and the weight of predicting each token."""

    tokens: Int[np.ndarray, "batch seq"]
    weights: Float[np.ndarray, "batch seq"]


class PictureBatch(NamedTuple):
    """Documents, and the picture that each begins with."""

    pictures: UInt8[np.ndarray, "batch channels height width"]
    documents: Batch


def texts(tokenizer: PreTrainedTokenizerFast, mixture: Mixture, seed: int) -> Iterator[Batch]:
    """Endless batches of texts of about one length each, about equal in tokens."""
    rng = np.random.default_rng(seed)
    waiting: dict[int, list[tuple[list[int], list[float]]]] = {length: [] for length in LENGTHS}
    while True:
        for document in sample(rng, mixture, 256):
            row = _encoded(tokenizer, document, PROMPT_WEIGHT)
            length = next(length for length in LENGTHS if length >= len(row[0]))
            waiting[length].append(row)
            if len(waiting[length]) == TOKENS_PER_BATCH // length:
                yield _padded(waiting[length], length, tokenizer.pad_token_id)
                waiting[length] = []


def pictures(
    tokenizer: PreTrainedTokenizerFast,
    config: PictureConfig,
    seed: int,
    japanese_questions: float,
) -> Iterator[PictureBatch]:
    """Endless batches of pictures with a question each, and an answer in English.

    Args:
        tokenizer: It knows ``<image>``.
        config: How many tokens a picture takes.
        seed: Of what is drawn.
        japanese_questions: How many of the questions are Japanese.
    """
    rng = np.random.default_rng(seed)
    while True:
        shown, rows = [], []
        for _ in range(PICTURES_PER_BATCH):
            asked = world.ask(rng, world.scene(rng), "train")
            language = "ja" if rng.random() < japanese_questions else "en"
            shown.append(draw(rng, asked.scene, "train"))
            prompt = with_picture(config, world.question(asked, language))
            rows.append(_encoded(tokenizer, Document(prompt, world.answer(asked, "en")), 0.0))
        documents = _padded(rows, max(LENGTHS), tokenizer.pad_token_id)
        yield PictureBatch(channels_first(shown), documents)


def with_picture(config: PictureConfig, question: str) -> str:
    """Return the prompt of a question about a picture, with a token for each of its features."""
    return f"{IMAGE * config.tile_tokens}\n{question}"


def channels_first(
    shown: Sequence[UInt8[np.ndarray, "height width channels"]],
) -> UInt8[np.ndarray, "batch channels height width"]:
    """Put pictures into one array."""
    return np.stack(shown).transpose(0, 3, 1, 2)


def _encoded(
    tokenizer: PreTrainedTokenizerFast, document: Document, prompt_weight: float
) -> tuple[list[int], list[float]]:
    """Token ids of `<s> prompt newline response </s>`, and the weight of each as a target."""
    prompt = tokenizer(document.prompt + "\n")["input_ids"]
    response = tokenizer(document.response, add_special_tokens=False)["input_ids"]
    weights = [0.0, *[prompt_weight] * (len(prompt) - 1), *[1.0] * (len(response) + 1)]
    return [*prompt, *response, tokenizer.eos_token_id], weights


def _padded(rows: Sequence[tuple[list[int], list[float]]], length: int, pad_id: int) -> Batch:
    tokens = np.full((len(rows), length), pad_id, np.int32)
    weights = np.zeros((len(rows), length), np.float32)
    for row, (ids, values) in enumerate(rows):
        tokens[row, : len(ids)] = ids
        weights[row, : len(values)] = values
    return Batch(tokens, weights)
