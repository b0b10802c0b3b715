"""How a source is spelled that has a LoRA baked into it: ``MODEL+LORA.safetensors:STRENGTH``."""

import re
from pathlib import Path
from typing import NamedTuple

_BAKED = re.compile(
    r"(?P<model>.+)\+(?P<lora>[^+]+\.safetensors)(:(?P<strength>-?\d+(\.\d*)?([eE][-+]?\d+)?))?"
)


class Baked(NamedTuple):
    """A model and a LoRA that is added to it before anything is merged.

    Attributes:
        model: The directory, the single file or the hub id of the model.
        lora: The safetensors file of the LoRA.
        strength: What its task vector is multiplied by.
    """

    model: str
    lora: str
    strength: float = 1.0

    def __str__(self) -> str:
        return f"{self.model}+{self.lora}:{self.strength!r}"


def split_baked(source: str) -> Baked | None:
    """Split the text of a source, or return None where no LoRA is baked into it.

    A path that exists is a model, whatever its name.
    """
    found = _BAKED.fullmatch(source)
    if found is None or Path(source).exists():
        return None
    return Baked(found["model"], found["lora"], float(found["strength"] or 1.0))
