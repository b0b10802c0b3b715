"""How a source is spelled that has a LoRA baked into it: ``MODEL+LORA.safetensors:STRENGTH``."""

import re
from pathlib import Path
from typing import NamedTuple

from evojax_merge.checkpoints import CheckpointError

_BAKED = re.compile(r"(?P<model>.+)\+(?P<lora>[^+]+\.safetensors)(:(?P<strength>[^:/]*))?")
_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


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

    Raises:
        CheckpointError: The strength is no number.
    """
    found = _BAKED.fullmatch(source)
    if found is None or Path(source).exists():
        return None
    strength = found["strength"]
    if strength is None:
        return Baked(found["model"], found["lora"])
    if not _NUMBER.fullmatch(strength):
        raise CheckpointError(
            f"{source}: the strength of the LoRA is {strength!r}; give a number after the colon, "
            f"as in {found['model']}+{found['lora']}:0.8"
        )
    return Baked(found["model"], found["lora"], float(strength))
