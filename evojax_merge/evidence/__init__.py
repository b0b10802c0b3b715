"""Evidence: what an operator asks to know of how each source treats a user's data."""

from evojax_merge.evidence.collect import collect, prepare
from evojax_merge.evidence.items import Items, pinned
from evojax_merge.evidence.store import FOLDER, EvidenceError

__all__ = ["FOLDER", "EvidenceError", "Items", "collect", "pinned", "prepare"]
