"""Evidence, which tells an operator how each source treats a user's data."""

from evojax_merge.sources.evidence.collect import collect, prepare
from evojax_merge.sources.evidence.items import Items, pinned
from evojax_merge.sources.evidence.store import FOLDER, EvidenceError

__all__ = ["FOLDER", "EvidenceError", "Items", "collect", "pinned", "prepare"]
