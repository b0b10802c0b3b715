"""The tokenizer of the vision experiment: whole words, the longest first, and single digits."""

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from experiments.vision.words import (
    ANIMALS,
    COLOURS,
    PLACES,
    PREDICATES,
    SIDES,
    SUBJECTS,
    THE_ONLY_ONE,
    VERBS,
)

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
PAD, BOS, EOS, UNKNOWN = SPECIAL
IMAGE = "<image>"
LENGTH = 128
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}<image>\n{% else %}{{ item['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '\n' }}{% else %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
"""A picture, a line with the question, and the answer."""

_SIGNS = "\n .,?:+=。、0123456789"
_ENGLISH = "a the on of and number is there which what who where in colour much how english"
_JAPANESE = (
    "の 数字 は 何 何色 どの どんな 色 です か いくつ になります どちら が 大きい より に ある"
    " あります 方 絵 一つ 二つ 合計 全部で で と どこ だれ 日本語"
)


def words() -> list[str]:
    """Every token but the special ones, in a fixed order."""
    named = [*(colour.name for colour in COLOURS), *SIDES, *ANIMALS, *PLACES, *VERBS]
    framed = [*THE_ONLY_ONE]
    for table in (SUBJECTS, PREDICATES):
        framed += [word for frames in table.values() for word in frames]
    english = _ENGLISH.split() + [word.en for word in named]
    english += [part for word in framed for part in re.findall(r"(?<!\{)\b[a-z]+\b(?!\})", word.en)]
    japanese = _JAPANESE.split() + [word.ja for word in named]
    found = [*_SIGNS, *english, *(" " + word for word in english), *japanese]
    return list(dict.fromkeys(found))


def build(pictures: bool) -> PreTrainedTokenizerFast:
    """Make the tokenizer: `<s>` before the text, padding on the left.

    Args:
        pictures: Whether it has the token ``<image>``, which is the last one then.
    """
    known = [*SPECIAL, *words(), *([IMAGE] if pictures else [])]
    vocabulary = {token: number for number, token in enumerate(known)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    longest = sorted(words(), key=len, reverse=True)
    pattern = Regex("|".join([*(re.escape(word) for word in longest), r"[\s\S]"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, behavior="isolated")
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
        model_max_length=LENGTH,
        **({"extra_special_tokens": {"image_token": IMAGE}} if pictures else {}),
    )
