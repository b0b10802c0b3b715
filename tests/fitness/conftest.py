"""A byte-level tokenizer, models that are only a tokenizer and a config, and written answers."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<s>", "</s>")


def byte_tokenizer(bos: bool = True, eos: bool = False, pad: bool = True) -> Any:
    """One token a byte after the special ones, so token counts are byte counts."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    single = " ".join(["<s>"] * bos + ["$A"] + ["</s>"] * eos)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1), ("</s>", 2)]),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>" if pad else None,
    )


def language_model(context: int = 1024, vocabulary: int = 259, **options: bool) -> SimpleNamespace:
    """What a task needs to know of a decoder."""
    config = SimpleNamespace(max_position_embeddings=context, vocab_size=vocabulary)
    return SimpleNamespace(tokenizer=byte_tokenizer(**options), config=config)


@pytest.fixture(scope="session")
def model() -> SimpleNamespace:
    return language_model()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes objects as JSON Lines and returns the path."""

    def write(*items: Any, name: str = "items.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in items))
        return str(path)

    return write


def written(bound: Any, texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """What the device would return if candidate c had answered item i with texts[c][i]."""
    outputs = []
    for rows in bound._rows:
        shape = (len(texts), len(rows), bound.request.max_new_tokens)
        tokens = np.full(shape, bound.request.pad_id, np.int32)
        for candidate, answers in enumerate(texts):
            for place, row in enumerate(rows):
                ids = bound._tokenizer(answers[row], add_special_tokens=False)["input_ids"]
                ids = [*ids, bound.request.eos_ids[0]][: bound.request.max_new_tokens]
                tokens[candidate, place, : len(ids)] = ids
        outputs.append(tokens)
    return outputs
