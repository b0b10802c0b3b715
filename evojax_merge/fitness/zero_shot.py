"""Classes described in words, for classification without training.

Radford et al., 2021, arXiv 2103.00020, section 3.1.4: the name of a class is put into several
prompts, and the class is the mean of what a text encoder makes of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evojax_merge.checkpoints.tokenizers import refused
from evojax_merge.fitness.data import DataError
from evojax_merge.models.clip.config import TextConfig
from evojax_merge.models.request import Prompts

TEMPLATES = ("a photo of a {}.",)
"""The prompt that the paper gives for pictures of which nothing else is known."""

_OLDER_END = 2
"""The wrong end token in configurations of before mid-2023; they mean the greatest id."""


def prompts(names: Sequence[str], templates: Sequence[str] = TEMPLATES) -> list[list[str]]:
    """The prompts of each class, one per template; ``{}`` stands for the name of the class.

    Raises:
        DataError: There is no class or no template, two classes have one name, a name is blank,
            or a template does not hold ``{}`` once.
    """
    if isinstance(names, str) or isinstance(templates, str) or not names or not templates:
        raise DataError(
            f"zero-shot classes need a list of at least one name and of at least one template; "
            f"got {names!r} and {templates!r}"
        )
    for name in names:
        if not name.strip() or names.count(name) > 1:
            raise DataError(f"class {name!r}: every class needs a name of its own")
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise DataError(f"template {template!r}: write {{}} once, where the class name goes")
    return [[template.replace("{}", name) for template in templates] for name in names]


def tokenized(
    texts: Sequence[Sequence[str]],
    model: Any,
    text: TextConfig,
    task: str,
    warn: Callable[[str], None] | None = None,
) -> Prompts:
    """The prompts of each class as tokens, as long as the longest of them.

    Args:
        texts: The prompts of each class, as `prompts` gives them.
        model: Anything with ``tokenizer`` and ``directory``.
        text: The configuration of its text tower.
        task: The name of the task in messages.
        warn: A function that is called at most once, where prompts are too long. They are cut then,
            as transformers does. Without it they are refused.

    Raises:
        ValueError: The model has no tokenizer, or one whose tokens the tower does not know; or a
            prompt is too long.
    """
    if model.tokenizer is None:
        raise ValueError(
            f"{task}: class names need a tokenizer, and {model.directory} has none; put its "
            "tokenizer.json there, or give fitness.head or fitness.text"
        )
    flat = [prompt for own in texts for prompt in own]
    with refused(f"{model.directory}: its tokenizer cannot encode the class names"):
        rows = list(model.tokenizer(flat, return_attention_mask=False, verbose=False)["input_ids"])
    most = text.max_position_embeddings
    if warn is not None and (long := sum(len(ids) > most for ids in rows)):
        warn(f"{task}: {model.directory} reads {most} tokens; the ends of {long} texts are cut off")
        rows = [ids if len(ids) <= most else [*ids[: most - 1], ids[-1]] for ids in rows]
    for prompt, ids in zip(flat, rows, strict=True):
        if len(ids) > most:
            raise ValueError(
                f"{task}: the prompt {prompt!r} has {len(ids)} tokens, and the text tower reads "
                f"{most}; shorten the name of the class, or the template"
            )
        end = max(ids) if text.eos_token_id == _OLDER_END else text.eos_token_id
        if ids[-1] != end or max(ids) >= text.vocab_size:
            raise ValueError(
                f"{task}: the tokenizer of {model.directory} ends {prompt!r} with token {ids[-1]} "
                f"and gives tokens up to {max(ids)}; the text tower expects {end} at the end, and "
                f"knows {text.vocab_size}: it belongs to another model"
            )
    longest = max(map(len, rows))
    tokens = np.array([ids + ids[-1:] * (longest - len(ids)) for ids in rows], np.int32)
    return Prompts(tokens.reshape(len(texts), -1, longest))
