"""The chat template that a file asks for."""

from collections import Counter
from collections.abc import Iterable

from evojax_merge.checkpoints import Checkpoint
from evojax_merge.exchange.errors import ExchangeError, nearest

_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {"chatml": _CHATML}
"""Templates that have a name."""

_ONLY_MERGEKIT = ("alpaca", "exaone", "llama3", "mistral")


def chat_template(wanted: str | None, checkpoints: Iterable[Checkpoint]) -> str | None:
    """The template itself; None leaves the tokenizer's.

    Args:
        wanted: ``auto`` (what most models have), a name, or a Jinja template.
        checkpoints: Of the merge.

    Raises:
        ExchangeError: There is no template of this name, and it is none itself.
    """
    if wanted is None or wanted in TEMPLATES:
        return TEMPLATES.get(wanted or "")
    if wanted == "auto":
        tokenizers = [checkpoint.tokenizer for checkpoint in checkpoints]
        found = [t.chat_template for t in tokenizers if t is not None]
        texts = [template.strip() for template in found if isinstance(template, str)]
        return Counter(texts).most_common(1)[0][0] if texts else None
    if "{" not in wanted:
        hint = "paste the template itself" if wanted in _ONLY_MERGEKIT else "or a Jinja template"
        raise ExchangeError(
            f"chat_template: no template {wanted!r}{nearest(wanted, ('auto', *TEMPLATES))}; "
            f"known are auto and {', '.join(TEMPLATES)}; {hint}"
        )
    return wanted
