"""How the files of a LLaVA spell the names of its tensors.

Three spellings are about. On the hub the tower is ``vision_tower.vision_model.``, transformers 5
writes ``vision_tower.`` for a new model, and in its memory the names begin with ``model.``. The
spelling of each part is found by a tensor that every such part has.
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
    """The names of tensors of a LLaVA, or what they begin with. The defaults are the hub's.

    Attributes:
        language: The beginning of the language model's names, the head's excepted.
        head: The name of the head.
        tower: The beginning of the vision tower's names.
        projector: The beginning of the projector's names, the newline's excepted.
        newline: The name of the vector that ends a row of patches.
    """

    language: str = "language_model.model."
    head: str = "language_model.lm_head.weight"
    tower: str = "vision_tower.vision_model."
    projector: str = "multi_modal_projector."
    newline: str = "image_newline"

    @classmethod
    def of(cls, stored: Iterable[str]) -> Self:
        """Find the spelling of stored tensors. A part without tensors has the hub's.

        Raises:
            ValueError: The files are of the format that LLaVA had before it was in transformers.
        """
        names = list(stored)
        for name in names:
            if "mm_projector." in name:
                raise ValueError(
                    f"tensor {name} is named as in the first LLaVA's own format; convert the "
                    "checkpoint to transformers' (convert_llava_weights_to_hf.py)"
                )
        return cls(**beginnings_of(names, _MARKS))

    def spelled(self, name: str) -> str:
        """Spell a name of any of the spellings as this one does. Other names stay as they are."""
        return respelled(name, self, _BEGINNINGS)


HUB = Names()
"""The spelling of the hub."""

_MARKS = {
    **TEXT_MARKS,
    "tower": re.compile(
        r"((?:model\.)?vision_tower\.(?:vision_model\.)?)embeddings\.patch_embedding\.weight"
    ),
    "projector": re.compile(r"((?:model\.)?multi_modal_projector\.)linear_1\.weight"),
    "newline": re.compile(r"((?:model\.)?image_newline)"),
}

_BEGINNINGS = {
    **TEXT_BEGINNINGS,
    "tower": re.compile(r"(?:model\.)*vision_tower\.(?:vision_model\.)?"),
    "projector": re.compile(r"(?:model\.)*multi_modal_projector\."),
    "newline": re.compile(r"(?:model\.)*image_newline$"),
}
