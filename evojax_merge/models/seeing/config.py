"""What the configurations of all models have in common that see pictures and write text."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Self

from evojax_merge.documents.errors import shown
from evojax_merge.models.decoder.config import DecoderConfig

TOWER, PROJECTOR, LANGUAGE = "vision_tower", "projector", "language_model"
PARTS = (TOWER, PROJECTOR, LANGUAGE)
"""The parts of a model that sees, in the order in which a picture passes them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeeingConfig:
    """A model that sees, of which a parameter tree has all parts or some.

    Attributes:
        text: The language model.
        present: The parts that a parameter tree has. Another tree has the rest.
    """

    text: DecoderConfig
    present: tuple[str, ...] = PARTS

    def with_vocabulary(self, rows: int) -> Self:
        """Return the same model with another number of tokens."""
        return dataclasses.replace(self, text=dataclasses.replace(self.text, vocab_size=rows))

    def untied(self) -> Self:
        """Return the same model with a head that is not tied to the embeddings."""
        return dataclasses.replace(
            self, text=dataclasses.replace(self.text, tie_word_embeddings=False)
        )

    def only(self, parts: Iterable[str]) -> Self:
        """Return the model for a parameter tree that has some of its `PARTS` alone.

        Raises:
            ValueError: There is no part of such a name.
        """
        kept = set(parts)
        if unknown := sorted(kept - set(PARTS)):
            raise ValueError(
                f"a model that sees has no part {shown(unknown[0])}; it has {', '.join(PARTS)}"
            )
        return dataclasses.replace(self, present=tuple(part for part in PARTS if part in kept))

    def holding(self, merged: "SeeingConfig | DecoderConfig") -> Self:
        """Return this model with the configuration that merged parts have.

        Args:
            merged: The configuration of the language model alone, or of several parts.
        """
        if isinstance(merged, DecoderConfig):
            return dataclasses.replace(self, text=merged)
        text = merged.text if LANGUAGE in merged.present else self.text
        return dataclasses.replace(self, text=text)


def nested(hf_config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the fields that stand under a name of a ``config.json``. A silent file has none.

    Raises:
        ValueError: Something other than fields stands there.
    """
    given = hf_config.get(name)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ValueError(f"config.json: {name} must hold the fields of a model; got {shown(given)}")
    return given
