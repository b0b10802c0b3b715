"""A tokenizer of the kind that CLIP has, small: bytes, and pairs of them that the prompts need."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 16

_SUFFIX = "</w>"
_MOST = 1000
"""Tokens that would be learnt of more text; the prompts need fewer."""


def train(texts: Iterable[str]) -> CLIPTokenizer:
    """The tokens in CLIP's order: bytes, bytes that end words, pairs, start and end."""
    learner = CLIPTokenizer().backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=_MOST, end_of_word_suffix=_SUFFIX, show_progress=False, special_tokens=[]
    )
    learner.train_from_iterator(texts, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = ["".join(pair) for pair in merges]
    tokens = [*alphabet, *(byte + _SUFFIX for byte in alphabet), *pairs, START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


def save(tokenizer: CLIPTokenizer, directory: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``."""
    tokenizer.save_pretrained(directory)


def load(directory: Path) -> CLIPTokenizer:
    """Read what `save` wrote."""
    return CLIPTokenizer.from_pretrained(directory)
