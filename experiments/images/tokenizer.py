"""A tokenizer of the kind that CLIP has: a token for each English word and Japanese sign."""

import json

from tokenizers import trainers
from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from experiments.images.words import english_words, japanese_signs

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 12
"""The number of tokens of a prompt, with start, end and padding."""

_SUFFIX = "</w>"
_MOST = 1000
"""Tokens that would be learnt of more words; there are fewer."""

_OF_BYTE = bytes_to_unicode()


def build() -> CLIPTokenizer:
    """Make the tokenizer: bytes, bytes that end a word, pairs, start and end, as CLIP's.

    A Japanese sign is three bytes, and is one token within a run of signs and another one at its
    end, since the prompts have no spaces.
    """
    merges = _english()
    for sign in japanese_signs():
        first, second, third = (_OF_BYTE[byte] for byte in sign.encode())
        merges += [(first, second), (first + second, third), (first + second, third + _SUFFIX)]
    merges = list(dict.fromkeys(merges))
    alphabet = [*_OF_BYTE.values()]
    pairs = [first + second for first, second in merges]
    tokens = [*alphabet, *(byte + _SUFFIX for byte in alphabet), *pairs, START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


def _english() -> list[tuple[str, str]]:
    """Learn the pairs that make whole words of letters. Ties among pairs are broken anyhow."""
    learner = CLIPTokenizer().backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=_MOST, end_of_word_suffix=_SUFFIX, show_progress=False, special_tokens=[]
    )
    learner.train_from_iterator(english_words(), trainer)
    return [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
