"""Model cards: what an export says of itself, to people and to the Hugging Face hub."""

from evojax_merge.cards.files import described, described_merge

__all__ = ["described", "described_merge"]
