"""References to checkpoints: a path, and the hash of the weights."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Ingredient:
    """A checkpoint that a recipe merges.

    Attributes:
        path: The directory or hub id of the checkpoint.
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
        beside = directory / self.path
        if Path(self.path).is_dir() or not beside.is_dir():
            return self
        return dataclasses.replace(self, path=str(beside))
