"""What a recipe says of how the pictures of its merge are drawn."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from evojax_merge.documents.arguments import check_text, check_whole
from evojax_merge.documents.errors import shown
from evojax_merge.fitness.drawing.items import SEEDS
from evojax_merge.fitness.drawing.sampling import Sampling

KEY = "drawing"
"""The entry among the notes of a recipe."""


@dataclasses.dataclass(frozen=True)
class DrawingNotes:
    """How pictures are drawn.

    Attributes:
        sampling: Steps, guidance, size and the like.
        negative: What guidance leads away from.
        seed: The seed of the first prompt; the next one has the next number.
        tokenizers: The directory or hub id of a folder of diffusers whose tokenizers read the
            prompts; by default, the pipeline itself.

    Raises:
        ValueError: One of them makes no sense.
    """

    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    negative: str = ""
    seed: int = 0
    tokenizers: str | None = None

    def __post_init__(self) -> None:
        check_text("negative", self.negative)
        check_whole("seed", self.seed, 0, SEEDS - 1)
        if self.tokenizers is not None:
            check_text("tokenizers", self.tokenizers, empty=False)

    @classmethod
    def of(cls, notes: Mapping[str, Any], where: str) -> Self:
        """Read the notes of a recipe; one that says nothing of pictures has the defaults.

        Args:
            notes: The notes.
            where: What messages call the recipe.

        Raises:
            ValueError: They say what makes no sense.
        """
        given = notes.get(KEY)
        if given is None:
            return cls()
        try:
            if not isinstance(given, Mapping):
                raise ValueError(f"is {shown(given)}, and no mapping")
            own = {name: given[name] for name in _OWN if name in given}
            rest = {name: value for name, value in given.items() if name not in _OWN}
            return cls(Sampling.of(rest), **own)
        except ValueError as error:
            raise ValueError(f"{where}: notes.{KEY}: {error}") from None

    def as_notes(self) -> dict[str, Any]:
        """The notes that `of` reads."""
        own = {name: getattr(self, name) for name in _OWN}
        return {KEY: {**self.sampling.as_dict(), **own}}


_OWN = ("negative", "seed", "tokenizers")
