"""References to checkpoints: a path, and the hash of the weights."""

import dataclasses
from pathlib import Path

from evojax_merge.sources.baked import split_baked


@dataclasses.dataclass(frozen=True)
class Ingredient:
    """A checkpoint that a recipe merges.

    Attributes:
        path: The directory, the single file or the hub id of the checkpoint; with a LoRA that is
            baked into it, ``MODEL+LORA.safetensors:STRENGTH``.
        sha256: The hash of its weights (see `evojax_merge.checkpoints.content_hash`).
    """

    path: str
    sha256: str | None = None

    def at(self, directory: Path) -> "Ingredient":
        """The same ingredient with a path that leads from here.

        A path that leads nowhere from here is taken from ``directory``, if it leads somewhere
        there.

        Args:
            directory: The directory of the recipe.
        """
        baked = split_baked(self.path)
        paths = [self.path] if baked is None else [baked.model, baked.lora]
        found = [_located(path, directory) for path in paths]
        path = found[0] if baked is None else str(baked._replace(model=found[0], lora=found[1]))
        return dataclasses.replace(self, path=path)


def _located(path: str, directory: Path) -> str:
    beside = directory / path
    return path if Path(path).exists() or not beside.exists() else str(beside)
