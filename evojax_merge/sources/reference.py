"""Which checkpoint is meant: its path, and the hash of its weights."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Ingredient:
    """A checkpoint that a recipe merges.

    Attributes:
        path: Directory or hub id.
        sha256: Hash of its weights, see `evojax_merge.checkpoints.content_hash`.
    """

    path: str
    sha256: str | None = None

    def at(self, directory: Path) -> "Ingredient":
        """The same; a path that leads nowhere from here is one from ``directory``, if it is that.

        Args:
            directory: Where the recipe is.
        """
        beside = directory / self.path
        if Path(self.path).is_dir() or not beside.is_dir():
            return self
        return dataclasses.replace(self, path=str(beside))
