"""The character-level tokenizer of the quickstart."""

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from experiments.quickstart.words import (
    ALL_NAMES,
    ALL_OBJECTS,
    PLACES,
    TIMES,
    VERBS,
)

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
PAD, BOS, EOS, UNKNOWN = SPECIAL
ASCII = "".join(map(chr, range(0x20, 0x7F)))
HIRAGANA = "".join(map(chr, range(0x3041, 0x3094)))
PUNCTUATION = "、。「」ー"
KANJI = "日本語答今何個"


def alphabet() -> list[str]:
    """Every character of the corpus, in a fixed order."""
    words = "".join(word.ja for word in (*ALL_NAMES, *ALL_OBJECTS, *PLACES, *TIMES, *VERBS))
    return list(dict.fromkeys("\n" + ASCII + HIRAGANA + PUNCTUATION + KANJI + words))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character, `<s>` before the text, padding on the left."""
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *alphabet()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=128,
    )


def save_tokenizer(directory: Path) -> None:
    """Write the tokenizer as a fast tokenizer of transformers."""
    build_tokenizer().save_pretrained(directory)
