"""How the files of a Qwen2.5-VL spell the names of its tensors.

Two spellings are about. On the hub, and where transformers 5 writes a new model, the names begin
with ``visual.`` and ``model.``. In its memory, and in files of transformers 4.52 and later, they
begin with ``model.visual.`` and ``model.language_model.``.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple, Self

from evojax_merge.models.seeing.names import (
    TEXT_BEGINNINGS,
    TEXT_MARKS,
    beginnings_of,
    respelled,
)


class Names(NamedTuple):
    """The names of tensors of a Qwen2.5-VL, or what they begin with. The defaults are the hub's.

    Attributes:
        language: The beginning of the language model's names, the head's excepted.
        head: The name of the head.
        visual: The beginning of the names of the tower and of the merger.
    """

    language: str = "model."
    head: str = "lm_head.weight"
    visual: str = "visual."

    @classmethod
    def of(cls, stored: Iterable[str]) -> Self:
        """Find the spelling of stored tensors. A part without tensors has the hub's."""
        return cls(**beginnings_of(stored, _MARKS))

    def spelled(self, name: str) -> str:
        """Spell a name of any of the spellings as this one does. Other names stay as they are."""
        return respelled(name, self, _BEGINNINGS)


HUB = Names()
"""The spelling of the hub."""

_MARKS = {
    **TEXT_MARKS,
    "visual": re.compile(r"((?:model\.)?visual\.)(?:patch_embed\.proj|merger\.ln_q)\.weight"),
}

_BEGINNINGS = {**TEXT_BEGINNINGS, "visual": re.compile(r"(?:model\.)*visual\.")}
